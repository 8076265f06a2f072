"""`audit`: what a record file holds and whether its labels can be believed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError

if TYPE_CHECKING:
    from mllm_avqa.schema.records import Record

SourcesOption = Annotated[list[Path] | None, typer.Option("--sources", help="Folder of source media; may be repeated.")]
FullReferenceOption = Annotated[
    int, typer.Option("--full-reference", min=0, help="Compare this many clips with what they were made of.")
]


def audit(
    records: Annotated[Path, typer.Argument(help="records.jsonl")],
    full_reference: FullReferenceOption = 0,
    recipe: Annotated[Path | None, typer.Option(help="Recipe of the set, when set.json beside it is missing.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the set, when it was not the recipe's.")] = None,
    sources: SourcesOption = None,
) -> None:
    """Counts, ranges and checks of labels: a table on stderr, JSON on stdout."""
    from data_recipes.synthesis.audit import audit as count
    from data_recipes.synthesis.finished import families_and_ceilings, read_made
    from mllm_avqa.schema.records import read_records

    try:
        found = list(read_records(records))
        made = read_made(records.parent)
        numbers: dict[str, Any] = {"digest": made.digest, "pseudo_mos": made.labels} if made is not None else {}
        numbers |= count(found, *families_and_ceilings(records.parent, found))
        numbers |= agreement(records, found, full_reference, recipe, seed, sources)
    except AvqaError as e:
        raise fail(e) from e
    show(numbers)
    typer.echo(json.dumps(numbers, ensure_ascii=False))


def agreement(
    path: Path,
    records: Sequence[Record],
    count: int,
    recipe: Path | None = None,
    seed: int | None = None,
    sources: Sequence[Path] | None = None,
) -> dict[str, Any]:
    """{"full_reference": numbers} of `count` clips of a record file, {} for none. Raises as `agreement.of_set` does."""
    if not count:
        return {}
    from data_recipes.full_reference.agreement import of_set

    return {"full_reference": of_set(path.parent, records, count, recipe, seed, sources)}


def show(numbers: Mapping[str, Any]) -> None:
    """The audit for people, on stderr."""
    from data_recipes.synthesis.audit import as_text

    typer.echo(as_text(numbers), err=True)
    if "full_reference" in numbers:
        from data_recipes.full_reference.agreement import as_text as agreement_text

        typer.echo(agreement_text(numbers["full_reference"]), err=True)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("audit")(audit)
