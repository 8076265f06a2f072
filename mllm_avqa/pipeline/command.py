"""Commands around rows: `schema` says what they hold, `calibrate` what their scores are worth on one's own clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mllm_avqa.batch.manifests import ManifestColumns
from mllm_avqa.cli_support import RaterOptions, flattened, one_line, reported

_DEFAULT, _COLUMNS = RaterOptions(), ManifestColumns()


def schema(
    what: Annotated[Literal["row", "rating"], typer.Argument(help="Rows of `score`, or the rating of `rate`.")] = "row",
    as_json: Annotated[bool, typer.Option("--json", help="JSON Schema instead of a table.")] = False,
) -> None:
    """Print every column of a row, or every field of a rating, with its type, its unit and one sentence."""
    from mllm_avqa.pipeline.described import described, json_schema
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


@flattened
def merge(
    shards: Annotated[list[Path], typer.Argument(help="Outputs of `score --shard`.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="OUT.jsonl, .csv or .parquet; written anew.")],
    manifest: Annotated[Path | None, typer.Option(help="List of clips that must all have a row.")] = None,
    columns: ManifestColumns = _COLUMNS,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log messages.")] = False,
) -> None:
    """Put the rows of all shards into one output, each clip once. Exits with 1 when a line of the manifest has none."""
    from mllm_avqa.pipeline.shards import merge as merged
    from mllm_avqa.pipeline.shards import missing

    with reported(debug) as console:
        console.print(f"{merged(shards, output)} rows: {output}")
        lost = missing(output, manifest, columns) if manifest is not None else []
        for name in lost[:20]:
            console.print(f"no row: {one_line(name)}")
        if lost:
            console.print(f"{len(lost)} lines of {manifest} have no row")
            raise typer.Exit(1)


@flattened
def calibrate(
    labels: Annotated[
        Path, typer.Argument(help="Your clips with a label each (.csv .tsv .jsonl .parquet), or an output of `score`.")
    ],
    label_column: Annotated[str, typer.Option(help="Column of the labels; higher is better.")] = "mos",
    group_column: Annotated[
        str | None, typer.Option(help="Column of the content: clips of one are drawn together; default: the file.")
    ] = None,
    aspect: Annotated[
        Literal["overall", "video", "audio", "sync", "text"], typer.Option(help="Score to calibrate.")
    ] = "overall",
    good: Annotated[float, typer.Option(help="Label from which a clip is good enough.")] = 3.0,
    precision: Annotated[
        list[float] | None, typer.Option(min=0, max=1, help="Of the clips that fail, this share shall be bad.")
    ] = None,
    recall: Annotated[
        list[float] | None, typer.Option(min=0, max=1, help="Of the bad clips, this share shall fail.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where rows go if the clips are rated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    columns: ManifestColumns = _COLUMNS,
    options: RaterOptions = _DEFAULT,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log messages.")] = False,
) -> None:
    """The cut-off of --fail-under for a wanted precision or recall, and the least difference of scores that counts."""
    from mllm_avqa.batch.engine import BatchOptions
    from mllm_avqa.pipeline.cutoffs import worth
    from mllm_avqa.pipeline.labels import labelled, scored_labels

    with reported(debug) as console:
        batch = BatchOptions(labels, settings=options.settings, limits=options.limits)
        rows = scored_labels(labels, output, columns, options.load, batch)
        given = labelled(rows, aspect, label_column, group_column, lambda text: console.print(one_line(text)))
        wanted = precision if precision or recall else [0.9]
        found = worth(aspect, *given, good, precision=wanted or (), recall=recall or ())
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    typer.echo(f"{found.clips} clips of {found.contents} contents, {found.bad} of them below {good:g} ({label_column})")
    for cut in found.cut_offs:
        fresh = ", ".join(
            f"{name} {value:.2f}"
            for name, value in (("precision", cut.fresh_precision), ("recall", cut.fresh_recall))
            if value is not None
        )
        typer.echo(
            f"{cut.wanted}: --fail-under {aspect}={cut.at.value:.2f}  cut-off {cut.at}, precision {cut.precision}, "
            f"recall {cut.recall}, {100 * cut.failing:.0f} % of clips fail"
            + (f"; on clips left out: {fresh}" * bool(fresh))
        )
    for wish in found.unreached:
        typer.echo(f"{wish}: no cut-off reaches it on these clips")
    if found.difference is None:
        typer.echo("no difference of two scores orders 95 % of pairs as the labels do")
    else:
        typer.echo(f"two scores differ significantly from {found.difference} on: 95 % of such pairs are in right order")
