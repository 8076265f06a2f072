"""`synth`, `list`, `sources`: what a recipe uses and makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from data_recipes.commands import fail
from data_recipes.commands.audit import FullReferenceOption, SourcesOption
from mllm_avqa.schema.errors import AvqaError

RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file, e.g. data_recipes/recipes/smoke.yaml.")]


def synth(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for clips and records.jsonl.")],
    clips: Annotated[int | None, typer.Option(help="Number of clips instead of the recipe's.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; the result does not depend on it. Default: one per core.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the recipe's.")] = None,
    sources: SourcesOption = None,
    full_reference: FullReferenceOption = 0,
    allow_errors: Annotated[bool, typer.Option("--allow-errors", help="Exit 0 although clips failed.")] = False,
) -> None:
    """Make the clips of a recipe. Finished clips are kept. Prints the audit of the set, with its digest, as JSON."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from data_recipes.commands.audit import agreement, show
    from data_recipes.synthesis.synth import synthesise

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(recipe.stem, total=None)
        try:
            outcome = synthesise(
                recipe, out, clips, workers, seed, sources or (), lambda n, of: bar.update(task, completed=n, total=of)
            )
        except AvqaError as e:
            raise fail(e) from e
    for missing in outcome.inventory.missing:
        typer.echo(f"no source {missing.spec.name!r}: {missing.advice}", err=True)
    for index, why in outcome.failures:
        typer.echo(f"clip {index} failed: {why}", err=True)
    speed = outcome.made / outcome.seconds if outcome.seconds else 0.0
    try:
        numbers = outcome.numbers | agreement(out / "records.jsonl", outcome.records, full_reference)
    except AvqaError as e:
        raise fail(e) from e
    show(numbers)
    typer.echo(
        f"{outcome.made} made, {outcome.kept} kept, {len(outcome.failures)} failed; {speed:.2f} clips/s; "
        f"{out / 'records.jsonl'}",
        err=True,
    )
    typer.echo(json.dumps({**numbers, "failed": len(outcome.failures)}, ensure_ascii=False))
    if outcome.failures and not allow_errors:
        raise typer.Exit(1)


def list_kinds(modality: Annotated[str | None, typer.Option(help="video, audio, sync or text.")] = None) -> None:
    """Kinds of faults (levels, unit, pseudo-MOS, believed measure, source), then the datasets; tab-separated."""
    from data_recipes.commands.convert import datasets
    from data_recipes.distortions import kinds
    from data_recipes.distortions.base import REGISTRY
    from data_recipes.synthesis.doses import dose, measure_of

    try:
        rows = kinds(modality, named=REGISTRY)
    except AvqaError as e:
        raise fail(e) from e
    typer.echo("kind\tmodality\tlevels\tunit\tmos\tmeasure\tsource")
    for k in rows:
        levels = " ".join(_level(k.parameters(v)) for v in range(1, 6))
        mos = " ".join(f"{dose(k.kind, v):.2f}" for v in range(1, 6))
        measure = measure_of(k.kind) or "-"
        typer.echo(f"{k.kind}\t{k.modality}\t{levels}\t{k.unit or 'see levels'}\t{mos}\t{measure}\t{k.source}")
    if modality is None:
        typer.echo()
        datasets()


def _level(parameters: dict[str, float | str]) -> str:
    shown = {k: v if isinstance(v, str) else f"{v:g}" for k, v in parameters.items()}
    return next(iter(shown.values())) if len(shown) == 1 else ",".join(f"{k}={v}" for k, v in shown.items())


def list_sources(recipe: RecipeArgument, sources: SourcesOption = None) -> None:
    """What a recipe would use (tab-separated: id, split, group, kind, seconds, sound, licence) and what is missing."""
    from data_recipes.synthesis.recipe import load_recipe, load_transcripts
    from data_recipes.synthesis.sources import find_sources

    try:
        loaded = load_recipe(recipe)
        found = find_sources(loaded, sources or (), load_transcripts(loaded, recipe))
    except AvqaError as e:
        raise fail(e) from e
    typer.echo("id\tsplit\tgroup\tkind\tseconds\tsound\ttranscript\tceilings\tlicence")
    for s in found.sources:
        ceilings = ",".join(f"{a}={c:g}" for a, c in s.ceilings) or "-"
        sound, text = ("yes" if s.has_sound else "no"), ("yes" if s.transcript else "no")
        typer.echo(f"{s.id}\t{s.split}\t{s.group}\t{s.kind}\t{s.seconds:.1f}\t{sound}\t{text}\t{ceilings}\t{s.licence}")
    for missing in found.missing:
        typer.echo(f"missing: {missing.spec.name}: {missing.advice}", err=True)
    for why in found.unreadable:
        typer.echo(f"unreadable: {why}", err=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("synth")(synth)
    app.command("list")(list_kinds)
    app.command("sources")(list_sources)
