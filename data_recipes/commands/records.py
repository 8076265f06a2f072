"""`export`, `import`, `stats`, `split`, `leakage`: what a record file holds, its parts, and its other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_recipes.commands import OutOption, RecordsArgument, Split, command, give, say
from mllm_avqa.schema.errors import ConfigError

SplitOption = Annotated[Split | None, typer.Option(help="Only the records of this split.")]
AbsoluteOption = Annotated[bool, typer.Option("--absolute", help="Absolute media paths instead of relative to OUT.")]
_WIDTH = 120  # columns of the widest table: a pipe has no width, and a narrow terminal had better wrap than cut


@command("export")
def export(
    records: RecordsArgument,
    out: OutOption,
    form: Annotated[
        Literal["parquet", "jsonl", "llava", "ms-swift"] | None,
        typer.Option("--format", help="Default: by the name of OUT."),
    ] = None,
    split: SplitOption = None,
    absolute: AbsoluteOption = False,
    stage: Annotated[
        list[int] | None, typer.Option(min=1, max=3, help="Only questions of this stage; repeatable.")
    ] = None,
    aspect: Annotated[
        list[str] | None,
        typer.Option(help="Only questions about this aspect; repeatable. A trainer that is deaf needs video and text."),
    ] = None,
    language: Annotated[Literal["en", "zh"] | None, typer.Option(help="Only questions in this language.")] = None,
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
    from data_recipes.formats import convert, export_questions
    from data_recipes.formats.peers import PEERS, Choice

    stages, aspects = frozenset(stage) if stage else None, frozenset(aspect) if aspect else None
    choice = Choice(stages, aspects, language, levels, with_context)
    if form not in PEERS:
        if choice != Choice():
            raise ConfigError(
                "--stage, --aspect, --language, --levels and --with-context need --format llava or ms-swift"
            )
        give({"out": str(out), "records": convert(records, out, form, split, absolute)})
        return
    outcome = export_questions(records, out, form, choice, split, absolute, not no_open)
    say(*(f"left out: {n} {why}" for why, n in outcome.left_out.items()))
    say(*(f"failed: {why}" for why in outcome.failures))
    counts = {"left_out": sum(outcome.left_out.values()), "failed": len(outcome.failures)}
    give({"out": str(out), "records": outcome.records, "rows": outcome.rows, **counts})
    if outcome.failures:
        raise typer.Exit(1)


@command("import")
def import_records(
    source: Annotated[Path, typer.Argument(help="Parquet file, folder of Parquet files, or JSONL file.")],
    out: OutOption,
    split: SplitOption = None,
    absolute: AbsoluteOption = False,
) -> None:
    """Records of Parquet files (also as saved by `datasets`) as JSONL. Prints the counts as JSON."""
    from data_recipes.formats import convert

    give({"out": str(out), "records": convert(source, out, "jsonl", split, absolute)})


@command("stats")
def stats(
    records: RecordsArgument,
    html: Annotated[Path | None, typer.Option(help="Also write the report as one HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Count clips, labels, faults, questions and texts of a record file of any size."""
    from rich.console import Console

    from data_recipes.formats import stream
    from data_recipes.sets.stats import collect
    from data_recipes.sets.stats_report import as_tables, write_report

    found = collect(stream(records))
    if html is not None:
        write_report(found, html, records.name)
        say(f"report: {html}")
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        Console(width=max(Console().width, _WIDTH)).print(as_tables(found))


@command("split")
def split(
    records: RecordsArgument,
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

    outcome = split_file(records, out, parse_shares(shares), count, seed, keep_official)
    used = [p for p in SPLITS if any(p in size for size in outcome.sizes)]
    typer.echo("\t".join(("fold", *used)))
    for i, size in enumerate(outcome.sizes):
        typer.echo("\t".join((str(i), *(str(size.get(p, 0)) for p in used))))
    say(f"{outcome.records} records of {outcome.groups} groups, {count} splits; {out}")


@command("leakage")
def leakage(
    records: Annotated[list[Path], typer.Argument(help="Record files that belong together.")],
    content: Annotated[bool, typer.Option("--content", help="Compare the bytes of media files, too.")] = False,
) -> None:
    """Name what is in two parts of a split (tab-separated; exit 1). Names that are nearly equal are only a warning."""
    from data_recipes.sets.leakage import find_leaks

    found = find_leaks(records, content)
    leaks = [leak for leak in found.leaks if not leak.is_warning]
    if leaks:
        typer.echo("what\tname\tsplit\tparts")
    for leak in found.leaks:
        parts = ", ".join(f"{part}: {first}" for part, first in leak.parts.items())
        if leak.is_warning:
            say(f"warning: names like {leak.name!r} of different groups in {leak.split}: {parts}")
        else:
            typer.echo(f"{leak.what}\t{leak.name}\t{leak.split}\t{parts}")
    if found.unreadable:
        say(f"{found.unreadable} media files are not there; their content was not compared")
    say(f"{found.records} records: {len(leaks)} leaks, {len(found.leaks) - len(leaks)} warnings")
    if leaks:
        raise typer.Exit(1)
