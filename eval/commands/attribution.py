"""`python -m eval attribution`: what a checkpoint's scores rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail, save
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(attribution)


def attribution(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl) with held-out clips.")],
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    split: Annotated[str, typer.Option(help="Split of the records; 'all' takes every clip.")] = "test",
    by: Annotated[
        Literal["dataset", "group", "fault", "modality"],
        typer.Option(help="Content class: dataset, content group, first fault, or the modalities that have faults."),
    ] = "dataset",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips, evenly spread.")] = None,
    lang: Annotated[
        Literal["en", "zh"] | None, typer.Option(help="Language of the prompts; default: the checkpoint's first.")
    ] = None,
    context: Annotated[Literal["none", "fast", "full"], typer.Option(help="Text to look for.")] = "fast",
    budget: Annotated[
        int,
        typer.Option(min=4, help="Sets of inputs scored per clip; where there are more, shares are estimates."),
    ] = 256,
    chunk: Annotated[int, typer.Option(min=1, help="Clips held in memory at once.")] = 8,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1000,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="OUT.json: everything, with a row per clip and share.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of tables.")] = False,
) -> None:
    """Shapley shares of modalities and inputs per content class, and scores and SRCC with each of them taken away.

    Exits with 1 when clips could not be rated; they are left out and named.
    """
    try:
        from eval.attribution import Settings, markdown, study

        settings = Settings(
            split=split, limit=limit, language=lang, context=context, by=by, budget=budget, chunk=chunk,
            threads=threads, draws=draws,
        )  # fmt: skip
        found = study(records, checkpoint, settings)
        if output is not None:
            save(output, found.model_dump_json(indent=1))
            typer.echo(f"wrote {len(found.rows)} rows to {output}", err=True)
    except AvqaError as e:
        raise fail(e) from None
    for name, why in found.failed.items():
        typer.echo(f"{name}: {why}", err=True)
    typer.echo(found.model_dump_json(indent=1, exclude={"rows"}) if as_json else markdown(found))
    if found.failed:
        raise typer.Exit(1)
