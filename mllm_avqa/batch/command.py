"""`mllm-avqa schema`: what rows and ratings hold."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def schema(
    what: Annotated[Literal["row", "rating"], typer.Argument(help="Rows of `score`, or the rating of `rate`.")] = "row",
    as_json: Annotated[bool, typer.Option("--json", help="JSON Schema instead of a table.")] = False,
) -> None:
    """Print every column of a row, or every field of a rating, with its type, its unit and one sentence."""
    from mllm_avqa.batch.described import described, json_schema
    from mllm_avqa.schema.plain import json_text

    if as_json:
        typer.echo(json_text(json_schema(what), indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "type", "unit", "what it says", box=None, pad_edge=False)
    for told in described(what):
        table.add_row(*told)
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200  # a file or a pager has room
    console.print(table)
