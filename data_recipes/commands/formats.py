"""`export`, `import`: records to and from Parquet, and questions for the trainers of peers."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError, ConfigError


class Form(StrEnum):
    parquet = "parquet"
    jsonl = "jsonl"
    llava = "llava"
    ms_swift = "ms-swift"


class Language(StrEnum):
    en = "en"
    zh = "zh"


class Split(StrEnum):
    train = "train"
    val = "val"
    test = "test"


SplitOption = Annotated[Split | None, typer.Option(help="Only the records of this split.")]
AbsoluteOption = Annotated[bool, typer.Option("--absolute", help="Absolute media paths instead of relative to OUT.")]


def export(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl or .parquet).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write.")],
    form: Annotated[Form | None, typer.Option("--format", help="Default: by the name of OUT.")] = None,
    split: SplitOption = None,
    absolute: AbsoluteOption = False,
    stage: Annotated[
        list[int] | None, typer.Option(min=1, max=3, help="Only questions of this stage; repeatable.")
    ] = None,
    aspect: Annotated[
        list[str] | None,
        typer.Option(help="Only questions about this aspect; repeatable. A trainer that is deaf needs video and text."),
    ] = None,
    language: Annotated[Language | None, typer.Option(help="Only questions in this language.")] = None,
    levels: Annotated[
        bool, typer.Option("--levels", help="Add a score question per labelled aspect, answered with its level word.")
    ] = False,
    with_context: Annotated[
        bool,
        typer.Option("--with-context", help="Also questions that need the texts given with a clip, which are quoted."),
    ] = False,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Trust names and labels instead of opening every media file.")
    ] = False,
) -> None:
    """Write records as Parquet or JSONL, or their questions for LLaVA or ms-swift. Prints the counts as JSON.

    The options from --stage on are for llava and ms-swift, which get one row per question.
    """
    from data_recipes.formats.export import convert, export_questions, is_for_peers
    from data_recipes.formats.peers import Choice

    choice = Choice(
        frozenset(stage) if stage else None,
        frozenset(aspect) if aspect else None,
        language.value if language else None,
        levels,
        with_context,
    )
    try:
        if not is_for_peers(form):
            if choice != Choice():
                raise ConfigError(
                    "--stage, --aspect, --language, --levels and --with-context need --format llava or ms-swift"
                )
            _told(out, records=convert(records, out, form, split, absolute))
            return
        outcome = export_questions(records, out, str(form), choice, split, absolute, not no_open)
    except AvqaError as e:
        raise fail(e) from e
    for why, n in outcome.left_out.items():
        typer.echo(f"left out: {n} {why}", err=True)
    for why in outcome.failures:
        typer.echo(f"failed: {why}", err=True)
    left_out = sum(outcome.left_out.values())
    _told(out, records=outcome.records, rows=outcome.rows, left_out=left_out, failed=len(outcome.failures))
    if outcome.failures:
        raise typer.Exit(1)


def import_records(
    source: Annotated[Path, typer.Argument(help="Parquet file, folder of Parquet files, or JSONL file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Record file to write (.jsonl).")],
    split: SplitOption = None,
    absolute: AbsoluteOption = False,
) -> None:
    """Records of Parquet files (also as saved by `datasets`) as JSONL. Prints the counts as JSON."""
    from data_recipes.formats.export import convert

    try:
        _told(out, records=convert(source, out, "jsonl", split, absolute))
    except AvqaError as e:
        raise fail(e) from e


def _told(out: Path, **counts: int) -> None:
    typer.echo(json.dumps({"out": str(out), **counts}, ensure_ascii=False))


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("export")(export)
    app.command("import")(import_records)
