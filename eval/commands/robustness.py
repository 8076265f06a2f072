"""`python -m eval robustness`: what must not move a score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail, save
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(robustness)


def robustness(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl) with held-out clips.")],
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    split: Annotated[str, typer.Option(help="Split of the records; 'all' takes every clip.")] = "test",
    clips: Annotated[int, typer.Option(min=1, help="At most this many clips, evenly spread.")] = 24,
    lang: Annotated[list[str] | None, typer.Option(help="Languages; default: those of the checkpoint.")] = None,
    context: Annotated[Literal["none", "fast", "full"], typer.Option(help="Text to look for.")] = "fast",
    probe: Annotated[
        list[str] | None, typer.Option(help="injection, signal, batch, options; default: all of them.")
    ] = None,
    every_door: Annotated[
        bool, typer.Option("--every-door", help="Every text through every door of every clip: four times as long.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="OUT.json: the rows, for further use.")] = None,
) -> None:
    """Attack texts, other files of the same picture and sound, batches, orders: what must not move a score.

    Prints Markdown. Exit code 1: some clips could not be read or written again; they are named.
    """
    from eval.robustness.run import PROBES, Settings
    from eval.robustness.run import robustness as run
    from eval.robustness.text import markdown

    settings = Settings(
        split=split, clips=clips, languages=tuple(lang or ()), context=context, every_door=every_door,
        probes=tuple(probe or PROBES), threads=threads,
    )  # fmt: skip
    try:
        result = run(records, checkpoint, settings)
        if output is not None:
            save(output, json.dumps(result, ensure_ascii=False, indent=1))
    except AvqaError as e:
        raise fail(e) from None
    typer.echo(markdown(result))
    if result["failed"]:
        raise typer.Exit(1)
