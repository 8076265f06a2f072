"""`python -m eval calibrate`: intervals of a checkpoint's scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(calibrate)


def calibrate(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl) with clips of both splits.")],
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    split: Annotated[str, typer.Option(help="Split that the widths are taken from; not the training split.")] = "val",
    test: Annotated[str, typer.Option(help="Split that coverage and width are measured on.")] = "test",
    coverage: Annotated[float, typer.Option(help="Share of labels an interval shall hold, 0-1.")] = 0.9,
    lang: Annotated[list[str] | None, typer.Option(help="Languages; default: those of the checkpoint.")] = None,
    context: Annotated[Literal["none", "fast", "full"], typer.Option(help="Text to look for.")] = "fast",
    chunk: Annotated[int, typer.Option(min=1, help="Clips held in memory at once.")] = 8,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1000,
    write_card: Annotated[
        bool,
        typer.Option("--write-card", help="Put the intervals into avqa.yaml (ratings tell them) and MODEL_CARD.md."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON instead of tables.")] = False,
) -> None:
    """Conformal intervals of the scores, and the calibration error of the level probabilities.

    Exits with 1 when clips could not be rated; they are left out and named.
    """
    try:
        from eval.calibrate import calibrate as run
        from eval.calibrate import write
        from eval.calibration import markdown

        found = run(
            records,
            checkpoint,
            split=split,
            test=test,
            coverage=coverage,
            languages=tuple(lang or ()),
            context=context,
            chunk=chunk,
            threads=threads,
            draws=draws,
        )
        if write_card:
            typer.echo(f"wrote the intervals into {write(checkpoint, found).name}/avqa.yaml", err=True)
    except AvqaError as e:
        raise fail(e) from None
    for note in [*found.notes, *(a.note for a in found.aspects if a.note)]:
        typer.echo(note, err=True)
    for name, why in found.failed.items():
        typer.echo(f"{name}: {why}", err=True)
    typer.echo(found.model_dump_json(indent=2) if as_json else markdown(found))
    if found.failed:
        raise typer.Exit(1)
