"""`preview`: every kind of fault at every level on a clip of your own, as one HTML page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError, ConfigError


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

    try:
        names = [n.strip() for part in kinds or () for n in part.split(",") if n.strip()]
        part = None if span is None else _numbers(span, 2, "--span")
        where = None if region is None else _numbers(region, 4, "--region")
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(source.name, total=None)
            shown = page.preview(
                source,
                names,
                start=start,
                seconds=seconds,
                height=height,
                seed=seed,
                span=None if part is None else (part[0], part[1]),
                region=None if where is None else (where[0], where[1], where[2], where[3]),
                progress=lambda n, of: bar.update(task, completed=n, total=of),
            )
        path = page.write_page(shown, out)
    except AvqaError as e:
        raise fail(e) from e
    for why, left in shown.reasons.items():
        typer.echo(f"left out {', '.join(left)}: {why}", err=True)
    counts = {family: len(rows) for family, rows in shown.rows.items()}
    typer.echo(json.dumps({"page": str(path), "kinds": counts, "left_out": shown.left_out}, ensure_ascii=False))


def _numbers(text: str, count: int, flag: str) -> list[float]:
    try:
        numbers = [float(v) for v in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ConfigError(f"{text!r} is not {count} numbers with commas between them ({flag})")
    return numbers


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("preview")(preview)
