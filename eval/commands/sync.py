"""`python -m eval sync`: is it noticed that sound and picture are out of step?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail, save
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(sync)


def sync(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl), e.g. of data_recipes/recipes/sync_test.yaml.")],
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    split: Annotated[str, typer.Option(help="Split of the records; 'all' takes every clip.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips, evenly spread.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the prompts; default: the first of the checkpoint.")] = "",
    context: Annotated[
        Literal["none", "fast", "full"], typer.Option(help="Text to look for; it says nothing of timing.")
    ] = "none",
    criterion: Annotated[
        float, typer.Option(min=1, max=5, help="Sync scores below this are called out of step.")
    ] = 3.5,
    grid: Annotated[
        int, typer.Option(min=0, help="Read this many clips in step also with their sound moved by -1000..1000 ms.")
    ] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    html: Annotated[Path | None, typer.Option(help="OUT.html: detection over the offset as a figure.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="OUT.json: the rows, for further use.")] = None,
) -> None:
    """Accuracy per offset class, detection thresholds beside ITU-R BT.1359, false alarms, mismatched sound.

    Prints Markdown. Exit code 1: some clips could not be read; they are named.
    """
    from eval.sync.figure import write_html
    from eval.sync.run import Settings
    from eval.sync.run import sync as run
    from eval.sync.text import markdown

    settings = Settings(split, limit, lang, context, criterion=criterion, grid=grid, threads=threads)
    try:
        result, found = run(records, checkpoint, settings)
        if output is not None:
            save(output, json.dumps(result, ensure_ascii=False, indent=1))
        if html is not None:
            write_html(html, found.sets, f"{result['checkpoint']} on {records.name}")
    except AvqaError as e:
        raise fail(e) from None
    typer.echo(markdown(result))
    if result["failed"]:
        raise typer.Exit(1)
