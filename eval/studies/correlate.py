"""Anybody's predictions against anybody's labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar, Literal

import typer

from eval.correlation.numbers import DRAWS, Compared, reasons, study
from eval.joining import ColumnNames
from eval.stats import Mapping, Pairs
from eval.study import Report, Study, argument, option

Format = Literal["terminal", "markdown", "latex", "json"]


class Correlate(Study):
    """Correlate anybody's predictions with labels; clips are matched by id, path or file name."""

    command: ClassVar[str] = "correlate"

    pred: Path = argument("Predictions: .csv, .jsonl or .parquet (what `mllm-avqa score` writes).")
    labels: Path = argument("Labels: a table with the same columns, or a record file (.jsonl).")
    mapping: Mapping = option("logistic4", "Fit before mapped PLCC and RMSE; a line where it does not converge.")
    compare: tuple[Path, ...] = option((), "Another model's predictions, tested against PRED; may be repeated.")
    group: str | None = option(None, "Column of LABELS that names the content of a clip.")
    by: str | None = option(None, "Column of LABELS to report by, e.g. the database.")
    id_column: str | None = option(None, "Column that names the clips in both tables.", "--id")
    pred_column: tuple[str, ...] = option((), "COLUMN (overall) or ASPECT=COLUMN of the predictions; may be repeated.")
    label_column: tuple[str, ...] = option((), "COLUMN (overall) or ASPECT=COLUMN of LABELS; may be repeated.")
    ci: tuple[str, ...] = option((), "COLUMN or ASPECT=COLUMN of LABELS: half width of the 95 % interval.")
    std: tuple[str, ...] = option((), "COLUMN or ASPECT=COLUMN of LABELS: standard deviation of the votes.")
    votes: tuple[str, ...] = option((), "COLUMN or ASPECT=COLUMN of LABELS: number of votes; or a number.")
    lower_is_better: bool | None = option(
        None, "Do the labels of the table fall with quality?", "--lower-is-better/--higher-is-better"
    )
    falling: tuple[str, ...] = option((), "Name (file stem) of predictions that fall with quality; may be repeated.")
    pairs: Pairs = option("unordered", "Krasula's pairs: each once, or as VMAF counts them.")
    draws: int = option(DRAWS, "Draws of the bootstrap.", ge=100)
    form: Format | None = option(
        None, "Default: terminal on a terminal, else markdown; latex needs booktabs.", "--format"
    )
    html: Path | None = option(None, "Write a report with plots to this file.")
    clips: Path | None = option(None, "Folder the report's links to clips start from; default: that of LABELS.")

    def run(self) -> Compared:
        """Raises ConfigError for files that cannot be read, share no clip or no aspect."""
        columns = ColumnNames(
            id=self.id_column, scores=self.label_column, group=self.group, by=self.by, ci=self.ci, std=self.std,
            votes=self.votes, lower_is_better=self.lower_is_better,
        )  # fmt: skip
        return study(
            self.pred, self.labels, self.compare, label_columns=columns, score_columns=self.pred_column,
            id_column=self.id_column, falling=self.falling, mapping=self.mapping, pairs=self.pairs, draws=self.draws,
        )  # fmt: skip

    def report(self, found: Compared) -> Report:
        from eval.correlation import sections

        told = Report("", found.result.model_dump_json(indent=2), reasons(found.result))
        if self.html is not None:
            from eval.correlation.html import write_html

            write_html(found, self.html, clips=self.clips or self.labels.parent, title=self.labels.name)
            typer.echo(f"wrote {self.html}", err=True)
        forms = {"terminal": sections.terminal, "markdown": sections.markdown, "latex": sections.latex}
        form = self.form or ("terminal" if sys.stdout.isatty() else "markdown")
        told.text = told.data if form == "json" else forms[form](found.result)
        return told
