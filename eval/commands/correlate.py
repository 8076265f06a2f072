"""`python -m eval correlate`: anybody's predictions against anybody's labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail
from mllm_avqa.schema.errors import AvqaError

Format = Literal["terminal", "markdown", "latex", "json"]


def register(app: typer.Typer) -> None:
    app.command()(correlate)


def correlate(
    pred: Annotated[
        Path, typer.Argument(help="Predictions: .csv, .jsonl or .parquet (what `mllm-avqa score` writes).")
    ],
    labels: Annotated[Path, typer.Argument(help="Labels: a table with the same columns, or a record file (.jsonl).")],
    mapping: Annotated[
        Literal["none", "linear", "logistic4", "logistic5", "cubic"],
        typer.Option(help="Fit before mapped PLCC and RMSE; a line where it does not converge."),
    ] = "logistic4",
    compare: Annotated[
        list[Path] | None, typer.Option(help="Another model's predictions, tested against PRED; may be repeated.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Column of LABELS that names the content of a clip.")] = None,
    by: Annotated[str | None, typer.Option(help="Column of LABELS to report by, e.g. the database.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column that names the clips in both tables.")] = None,
    pred_column: Annotated[
        list[str] | None, typer.Option(help="COLUMN (overall) or ASPECT=COLUMN of the predictions; may be repeated.")
    ] = None,
    label_column: Annotated[
        list[str] | None, typer.Option(help="COLUMN (overall) or ASPECT=COLUMN of LABELS; may be repeated.")
    ] = None,
    ci: Annotated[
        list[str] | None, typer.Option(help="COLUMN or ASPECT=COLUMN of LABELS: half width of the 95 % interval.")
    ] = None,
    std: Annotated[
        list[str] | None, typer.Option(help="COLUMN or ASPECT=COLUMN of LABELS: standard deviation of the votes.")
    ] = None,
    votes: Annotated[
        list[str] | None, typer.Option(help="COLUMN or ASPECT=COLUMN of LABELS: number of votes; or a number.")
    ] = None,
    lower_is_better: Annotated[
        bool | None,
        typer.Option("--lower-is-better/--higher-is-better", help="Do the labels of the table fall with quality?"),
    ] = None,
    falling: Annotated[
        list[str] | None, typer.Option(help="Name (file stem) of predictions that fall with quality; may be repeated.")
    ] = None,
    pairs: Annotated[
        Literal["unordered", "vmaf"], typer.Option(help="Krasula's pairs: each once, or as VMAF counts them.")
    ] = "unordered",
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 2000,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Default: terminal on a terminal, else markdown; latex needs booktabs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder the report's links to clips start from; default: that of LABELS.")
    ] = None,
) -> None:
    """Correlate anybody's predictions with labels; clips are matched by id, path or file name."""
    from eval.correlate import reasons, study
    from eval.joining import Columns

    try:
        found = study(
            pred,
            labels,
            compare or (),
            label_columns=Columns(
                id=id_column,
                scores=tuple(label_column or ()),
                group=group,
                by=by,
                ci=tuple(ci or ()),
                std=tuple(std or ()),
                votes=tuple(votes or ()),
                lower_is_better=lower_is_better,
            ),
            score_columns=tuple(pred_column or ()),
            id_column=id_column,
            falling=falling or (),
            mapping=mapping,
            pairs=pairs,
            draws=draws,
        )
        for note in reasons(found.result):
            typer.echo(note, err=True)
        if html is not None:
            from eval.report.html import write_html

            write_html(found, html, clips=clips or labels.parent, title=labels.name)
            typer.echo(f"wrote {html}", err=True)
    except AvqaError as e:
        raise fail(e) from None
    if as_json or form == "json":
        typer.echo(found.result.model_dump_json(indent=2))
        return
    from eval.report import text

    chosen = form or ("terminal" if sys.stdout.isatty() else "markdown")
    typer.echo({"terminal": text.terminal, "markdown": text.markdown, "latex": text.latex}[chosen](found.result))
