"""`synth`, `list`, `sources`, `audit`, `preview`: what a recipe uses and makes, and what its faults look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_recipes.commands import RecordsArgument, SourcesOption, command, give, say
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    from mllm_avqa.schema.records import Record

RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file, e.g. data_recipes/recipes/smoke.yaml.")]
FullReferenceOption = Annotated[
    int, typer.Option("--full-reference", min=0, help="Compare this many clips with what they were made of.")
]


@command("synth")
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

    from data_recipes.synthesis.synth import synthesise

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(recipe.stem, total=None)
        outcome = synthesise(
            recipe, out, clips, workers, seed, sources or (), lambda n, of: bar.update(task, completed=n, total=of)
        )
    say(*(f"no source {missing.spec.name!r}: {missing.advice}" for missing in outcome.inventory.missing))
    say(*(f"clip {index} failed: {why}" for index, why in outcome.failures))
    speed = outcome.made / outcome.seconds if outcome.seconds else 0.0
    records = out / "records.jsonl"
    numbers = outcome.numbers | _agreement(records, outcome.records, full_reference)
    failed = len(outcome.failures)
    _show(numbers)
    say(f"{outcome.made} made, {outcome.kept} kept, {failed} failed; {speed:.2f} clips/s; {records}")
    give({**numbers, "failed": failed})
    if failed and not allow_errors:
        raise typer.Exit(1)


@command("audit")
def audit(
    records: RecordsArgument,
    full_reference: FullReferenceOption = 0,
    recipe: Annotated[Path | None, typer.Option(help="Recipe of the set, when set.json beside it is missing.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the set, when it was not the recipe's.")] = None,
    sources: SourcesOption = None,
) -> None:
    """Counts, ranges and checks of labels: a table on stderr, JSON on stdout."""
    from data_recipes.synthesis.audit import audit as count
    from data_recipes.synthesis.audit import families_and_ceilings, read_made
    from mllm_avqa.schema.records import read_records

    found = list(read_records(records))
    made = read_made(records.parent)
    numbers: dict[str, Any] = {"digest": made.digest, "pseudo_mos": made.labels} if made is not None else {}
    numbers |= count(found, *families_and_ceilings(records.parent, found))
    numbers |= _agreement(records, found, full_reference, recipe, seed, sources)
    _show(numbers)
    give(numbers)


def _agreement(path: Path, records: Sequence[Record], count: int, *made_of: Any) -> dict[str, Any]:
    """{"full_reference": numbers} of `count` clips of a record file, {} for none. Raises as `agreement.of_set` does."""
    if not count:
        return {}
    from data_recipes.synthesis.agreement import of_set

    return {"full_reference": of_set(path.parent, records, count, *made_of)}


def _show(numbers: Mapping[str, Any]) -> None:
    """The audit for people."""
    from data_recipes.synthesis.audit import as_text

    say(as_text(numbers))
    if "full_reference" in numbers:
        from data_recipes.synthesis.agreement import as_text as agreement_text

        say(agreement_text(numbers["full_reference"]))


@command("list")
def list_kinds(modality: Annotated[str | None, typer.Option(help="video, audio, sync or text.")] = None) -> None:
    """Kinds of faults (levels, unit, pseudo-MOS, believed measure, source), then the datasets; tab-separated."""
    from data_recipes.commands.datasets import datasets
    from data_recipes.distortions import REGISTRY, kinds
    from data_recipes.synthesis.doses import dose, measure_of

    rows = kinds(modality, named=REGISTRY)
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


@command("sources")
def list_sources(recipe: RecipeArgument, sources: SourcesOption = None) -> None:
    """What a recipe would use (tab-separated: id, split, group, kind, seconds, sound, licence) and what is missing."""
    from data_recipes.synthesis.recipe import load_recipe, load_transcripts
    from data_recipes.synthesis.sources import find_sources

    loaded = load_recipe(recipe)
    found = find_sources(loaded, sources or (), load_transcripts(loaded, recipe))
    typer.echo("id\tsplit\tgroup\tkind\tseconds\tsound\ttranscript\tceilings\tlicence")
    for s in found.sources:
        ceilings = ",".join(f"{a}={c:g}" for a, c in s.ceilings) or "-"
        sound, text = ("yes" if s.has_sound else "no"), ("yes" if s.transcript else "no")
        typer.echo(f"{s.id}\t{s.split}\t{s.group}\t{s.kind}\t{s.seconds:.1f}\t{sound}\t{text}\t{ceilings}\t{s.licence}")
    say(*(f"missing: {missing.spec.name}: {missing.advice}" for missing in found.missing))
    say(*(f"unreadable: {why}" for why in found.unreadable))


@command("preview")
def preview(
    source: Annotated[Path, typer.Argument(help="Video or sound file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for preview.html.")],
    kinds: Annotated[
        list[str] | None,
        typer.Option(help="Kinds or families (video, audio, sync, text), with commas or repeated; default: all."),
    ] = None,
    start: Annotated[float, typer.Option(help="Seconds into the source.")] = 0.0,
    seconds: Annotated[float, typer.Option(help="Seconds to distort.")] = 3.0,
    height: Annotated[int, typer.Option(help="Higher pictures are scaled down to this many lines.")] = 360,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    span: Annotated[str | None, typer.Option(help="Faults only from START,END seconds, e.g. 1,2.")] = None,
    region: Annotated[
        str | None, typer.Option(help="Faults only in X,Y,W,H of the picture in shares, e.g. 0.5,0,0.5,1.")
    ] = None,
) -> None:
    """Show every kind of fault at every level on a clip, in one HTML page. Prints what is on it as JSON."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from data_recipes import preview as page

    names = [n.strip() for part in kinds or () for n in part.split(",") if n.strip()]
    part: Any = None if span is None else _numbers(span, 2, "--span")
    where: Any = None if region is None else _numbers(region, 4, "--region")
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(source.name, total=None)
        limits: dict[str, Any] = {"start": start, "seconds": seconds, "height": height, "span": part, "region": where}
        told = lambda n, of: bar.update(task, completed=n, total=of)  # noqa: E731
        shown = page.preview(source, names, seed=seed, progress=told, **limits)
    path = page.write_page(shown, out)
    say(*(f"left out {', '.join(left)}: {why}" for why, left in shown.reasons.items()))
    counts = {family: len(rows) for family, rows in shown.rows.items()}
    give({"page": str(path), "kinds": counts, "left_out": shown.left_out})


def _numbers(text: str, count: int, flag: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise ConfigError(f"{text!r} is not {count} numbers with commas between them ({flag})")
    return numbers
