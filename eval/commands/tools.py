"""`python -m eval tools`: existing no-reference tools as baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from eval.commands import fail
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(tools)


def tools(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl).")],
    tool: Annotated[list[str], typer.Option(help="dnsmos (optional package); may be repeated.")],
    split: Annotated[str, typer.Option(help="Split of the records; 'all' takes every clip.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips, evenly spread.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="OUT.csv: id, path and a column per tool, for `correlate`.")
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON instead of a table.")] = False,
) -> None:
    """Measure existing tools on the clips of a record file. Exit code 1: some clips could not be measured."""
    from eval.baselines.text import tools_markdown
    from eval.baselines.tools import agreements, measure_all, open_tools
    from eval.measure import Settings, select
    from eval.writing import write_csv
    from mllm_avqa.schema.records import read_records

    try:
        names = list(dict.fromkeys(tool))
        chosen = select(list(read_records(records)), Settings(split=split, limit=limit))
        numbers, failed = measure_all(chosen, records.parent, open_tools(names))
        found = agreements(chosen, numbers, names, draws)
        if output is not None:
            rows = ([r.id, r.media, *(numbers[r.id].get(n, "") for n in names)] for r in chosen)
            write_csv(output, ["id", "path", *names], rows)
            typer.echo(f"wrote {len(chosen)} clips to {output}", err=True)
    except AvqaError as e:
        raise fail(e) from None
    for name, why in failed.items():
        typer.echo(f"{name}: {why}", err=True)
    typer.echo(json.dumps({"tools": found, "failed": failed}, indent=1) if as_json else tools_markdown(found))
    if failed:
        raise typer.Exit(1)
