"""`split` and `leakage`: parts of a set by content group, and whether anything is in two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError


def split(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Record file with `folds` filled.")],
    count: Annotated[int, typer.Option(help="Number of splits.")] = 10,
    shares: Annotated[str, typer.Option(help="train/test or train/val/test in percent of clips.")] = "80/20",
    seed: Annotated[int, typer.Option(help="Another seed, other splits; the same seed, the same splits.")] = 0,
    keep_official: Annotated[
        bool, typer.Option("--keep-official", help="Groups with an official split keep it in all splits.")
    ] = False,
) -> None:
    """Deal groups to train, val and test, balanced by score, several times. Prints clips per part (tab-separated)."""
    from data_recipes.sets.splits import SPLITS, parse_shares, split_file

    try:
        wanted = parse_shares(shares)
        outcome = split_file(records, out, wanted, count, seed, keep_official)
    except AvqaError as e:
        raise fail(e) from e
    used = [p for p in SPLITS if any(p in size for size in outcome.sizes)]
    typer.echo("\t".join(("fold", *used)))
    for i, size in enumerate(outcome.sizes):
        typer.echo("\t".join((str(i), *(str(size.get(p, 0)) for p in used))))
    typer.echo(f"{outcome.records} records of {outcome.groups} groups, {count} splits; {out}", err=True)


def leakage(
    records: Annotated[list[Path], typer.Argument(help="Record files that belong together.")],
    content: Annotated[bool, typer.Option("--content", help="Compare the bytes of media files, too.")] = False,
) -> None:
    """Name what is in two parts of a split (tab-separated; exit 1). Names that are nearly equal are only a warning."""
    from data_recipes.sets.leakage import find_leaks

    try:
        found = find_leaks(records, content)
    except AvqaError as e:
        raise fail(e) from e
    leaks = [leak for leak in found.leaks if not leak.is_warning]
    if leaks:
        typer.echo("what\tname\tsplit\tparts")
    for leak in found.leaks:
        parts = ", ".join(f"{part}: {first}" for part, first in leak.parts.items())
        if leak.is_warning:
            typer.echo(f"warning: names like {leak.name!r} of different groups in {leak.split}: {parts}", err=True)
        else:
            typer.echo(f"{leak.what}\t{leak.name}\t{leak.split}\t{parts}")
    if found.unreadable:
        typer.echo(f"{found.unreadable} media files are not there; their content was not compared", err=True)
    typer.echo(f"{found.records} records: {len(leaks)} leaks, {len(found.leaks) - len(leaks)} warnings", err=True)
    if leaks:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("split")(split)
    app.command("leakage")(leakage)
