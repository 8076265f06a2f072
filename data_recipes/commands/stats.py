"""`stats`: what a record file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError

_WIDTH = 120  # columns of the widest table: a pipe has no width, and a narrow terminal had better wrap than cut


def stats(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl or .parquet).")],
    html: Annotated[Path | None, typer.Option(help="Also write the report as one HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Count clips, labels, faults, questions and texts of a record file of any size."""
    from rich.console import Console

    from data_recipes.formats.files import stream
    from data_recipes.sets.stats import collect
    from data_recipes.sets.stats_report import as_tables, write_html

    try:
        found = collect(stream(records))
        if html is not None:
            write_html(found, html, records.name)
            typer.echo(f"report: {html}", err=True)
    except AvqaError as e:
        raise fail(e) from e
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        Console(width=max(Console().width, _WIDTH)).print(as_tables(found))


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("stats")(stats)
