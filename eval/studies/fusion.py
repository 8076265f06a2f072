"""Does an overall score know more than the field's formulas make of the picture's and the sound's score?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.board.bench import Bench
from eval.correlation.numbers import study as correlation
from eval.fusions import FUSIONS, REFERENCE, Fitted, Fusion, Scored, read_scored
from eval.joining import ColumnNames
from eval.samples import chosen
from eval.stats import (
    LEAST,
    LEAST_GROUPS,
    Number,
    Quartiles,
    Statistic,
    content_parts,
    content_splits,
    holm,
    number,
    paired_bootstrap,
    pearson,
    rmse,
    spearman,
    undefined,
)
from eval.study import Heading, Line, Predicted, Report, argument, command_line, option
from eval.writing import signed, table
from mllm_avqa.schema.errors import ConfigError

STATISTICS: dict[str, Statistic] = {"srcc": spearman, "plcc": pearson, "rmse": rmse}
LABELS = "fused from the labels of both"


class FusionStudy(Predicted):
    """Fuse audio and video scores into overall quality by the field's formulas, fitted on training splits."""

    command: ClassVar[str] = "fusion"
    kind: ClassVar[str] = "fusion"
    shown: ClassVar[Heading] = Heading(
        title="Overall quality against fusions of picture and sound",
        headline=("", "overall", "SRCC"),
        lower=frozenset({"RMSE"}),
    )
    in_suites: ClassVar[dict[str, int]] = {"draws": 1000}

    records: Path = argument("Labels: .csv, .jsonl or .parquet, or a record file (.jsonl).", metavar="LABELS")
    pred: Path | None = option(
        None, "Take A and V from these predictions instead of the labels themselves.", place="command"
    )
    group: str | None = option(None, "Column of LABELS that names the content of a clip.", place="command")
    split: str = "test"
    splits: int = option(10, "Content-separated splits that the formulas are fitted on.", ge=1)
    id_column: str | None = option(None, "Column that names the clips in both tables.", "--id", place="command")
    label_column: tuple[str, ...] = option(
        (), "ASPECT=COLUMN of LABELS (overall, audio, video); may be repeated.", place="command"
    )
    pred_column: tuple[str, ...] = option(
        (), "ASPECT=COLUMN of the predictions (audio, video); may be repeated.", place="command"
    )
    scale: tuple[float, float] = option((1.0, 5.0), "LOW HIGH of the study's scale.", place="command")
    pred_scale: tuple[float, float] = option((1.0, 5.0), "LOW HIGH of the predictions.", place="command")
    lower_is_better: bool | None = option(
        None, "Do the labels of the table fall with quality?", "--lower-is-better/--higher-is-better", place="command"
    )
    draws: int = option(2000, "Draws of the bootstrap.", ge=100)

    def run(self) -> Fused:
        """Raises ConfigError for files that cannot be read or joined, and for fewer contents than splits need."""
        columns = ColumnNames(
            id=self.id_column, scores=self.label_column, group=self.group, lower_is_better=self.lower_is_better
        )
        data = read_scored(
            self.records, self.pred, columns=columns, pred_columns=self.pred_column, scale=self.scale,
            pred_scale=self.pred_scale,
        )  # fmt: skip
        return fused(data, self.splits, self.draws, (self.pred or self.records).name)

    def report(self, found: Fused) -> Report:
        notes = [*found.notes, *(f"{m.name}: {m.note}" for m in found.models if m.note)]
        return Report(markdown(found), found.model_dump_json(indent=2), notes)

    def lines(self, bench: Bench) -> Iterator[Line]:
        records = chosen(self.records, self.split, bench.settings.limit)
        scores = bench.predict(self, records, self.records.parent)["full"]
        labels = bench.labels(self, records, self.records.parent)
        full = bench.table(self, records, scores)
        if full is None:
            return
        a = correlation(full, labels, score_columns=("overall",), draws=self.draws).result.aspects["overall"]
        values = {"SRCC": a.srcc, "PLCC": a.plcc, "RMSE": a.rmse}
        yield Line(what="overall", who=bench.who, values=values, n=a.n, of=a.m, command=bench.command(self))
        made = self.model_copy(update={"records": labels, "pred": full})
        yield from _lines(made.run(), bench.who, command_line(made))

    def alone(self, bench: Bench) -> Iterator[Line]:
        """What the formulas make of people's own labels of picture and sound."""
        labels = bench.labels(self, chosen(self.records, self.split, bench.settings.limit), self.records.parent)
        made = self.model_copy(update={"records": labels})
        found = made.run()
        bench.notes += found.notes
        for line in _lines(found, "", command_line(made)):
            yield line.model_copy(update={"table": LABELS})


class Coefficient(BaseModel):
    """Fitted on all clips, and its quartiles over the training sides of the splits."""

    model_config = ConfigDict(extra="forbid")

    value: float
    low: float
    high: float


class FusionResult(BaseModel):
    """One formula. `held_out`: every clip with the mean of the predictions it got while its content was held out."""

    model_config = ConfigDict(extra="forbid")

    name: str
    formula: str
    source: str
    coefficients: dict[str, Coefficient]
    splits: dict[str, Quartiles]  # srcc, plcc, rmse on the test sides
    held_out: dict[str, Number]  # the same over all clips, intervals by content
    gain: Number = Number()  # held-out SRCC minus that of the reference
    p: float | None = None  # of the gain, paired bootstrap, Holm-corrected
    note: str = ""


class Fused(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scores: str  # whose A and V: the labels' own, or a file of predictions
    clips: int
    held_out: int  # clips whose content was held out at least once
    contents: int
    splits: int
    reference: str = REFERENCE
    models: list[FusionResult]
    notes: list[str] = []


def fused(data: Scored, splits: int = 10, draws: int = 1000, whose: str = "labels") -> Fused:
    """Fit every formula on the training side of `splits` content-separated splits and measure it on the test side.

    Raises ConfigError for fewer contents than splits need.
    """
    parts = content_parts(data.groups)
    contents = len({p for g in parts for p in g})
    if contents < LEAST_GROUPS:
        raise ConfigError(f"{contents} contents, at least {LEAST_GROUPS} needed for splits by content (--group)")
    # Crossed contents (a picture with another clip's sound) leave some splits nearly empty.
    rows = [(train, test) for train, test in content_splits(data.groups, splits) if min(len(train), len(test)) >= LEAST]
    if not rows:
        raise ConfigError(
            f"{len(data.y)} clips of {contents} contents: no split has {LEAST} clips on both sides (--group)"
        )
    models: list[FusionResult] = []
    pooled: dict[str, np.ndarray] = {}
    tested = np.unique(np.concatenate([test for _, test in rows]))
    for fusion in FUSIONS:
        result, mean = _over_splits(fusion, data, rows)
        y, groups = data.y[tested], [data.groups[i] for i in tested]
        pooled[fusion.name] = mean[tested]
        result.held_out = {k: number(s, mean[tested], y, groups=groups, draws=draws) for k, s in STATISTICS.items()}
        models.append(result)
    _gains(models, pooled, data.y[tested], [parts[i] for i in tested], draws)
    return Fused(
        scores=whose,
        clips=len(data.y),
        held_out=len(tested),
        contents=contents,
        splits=len(rows),
        models=models,
        notes=data.notes,
    )


def _over_splits(
    fusion: Fusion, data: Scored, rows: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[FusionResult, np.ndarray]:
    """The result without its pooled numbers, and the mean held-out prediction of every clip (NaN: never held out)."""
    total, times = np.zeros(len(data.y)), np.zeros(len(data.y))
    values: dict[str, list[float]] = {k: [] for k in STATISTICS}
    fits: list[Fitted] = []
    why = ""
    for train, test in rows:
        fitted = fusion.fit(data.a[train], data.v[train], data.y[train])
        fits.append(fitted)
        guess = fitted.predict(data.a[test], data.v[test])
        total[test] += guess
        times[test] += 1
        reason = undefined(guess, data.y[test])
        if reason:
            why = f"a split was left out: {reason}"
            continue
        for k, statistic in STATISTICS.items():
            values[k].append(statistic(guess, data.y[test]))
    whole = fusion.fit(data.a, data.v, data.y)
    result = FusionResult(
        name=fusion.name,
        formula=fusion.formula,
        source=fusion.source,
        coefficients={k: _coefficient(x, [f.coefficients[k] for f in fits]) for k, x in whole.coefficients.items()},
        splits={k: _quartiles(x, why) for k, x in values.items()},
        held_out={},
        note=whole.note,
    )
    with np.errstate(invalid="ignore"):
        return result, total / times


def _coefficient(value: float, over: list[float]) -> Coefficient:
    low, high = np.quantile(over, [0.25, 0.75])
    return Coefficient(value=value, low=float(low), high=float(high))


def _quartiles(values: list[float], why: str) -> Quartiles:
    if not values:
        return Quartiles(note=why)
    low, median, high = (round(float(q), 4) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return Quartiles(median=median, low=low, high=high, splits=len(values), note=why)


def _gains(
    models: list[FusionResult],
    pooled: dict[str, np.ndarray],
    y: np.ndarray,
    parts: Sequence[tuple[str, ...]],
    draws: int,
) -> None:
    """Is a formula better than the reference on the same clips? Fills `gain` and `p`."""
    others = [m for m in models if m.name != REFERENCE]
    p: list[float | None] = []
    for m in others:
        pair = pooled[m.name], pooled[REFERENCE]
        why = undefined(pair[0], y) or undefined(pair[1], y)
        found = why or paired_bootstrap(spearman, *pair, y, parts, draws)
        if isinstance(found, str):
            m.gain = Number(note=found)
            p.append(None)
            continue
        difference = spearman(pair[0], y) - spearman(pair[1], y)
        m.gain = Number(value=round(difference, 4), low=round(found[0], 4), high=round(found[1], 4))
        p.append(found[2])
    for m, corrected in zip(others, holm(p), strict=True):
        m.p = corrected


# ---- text -----------------------------------------------------------------------------------------------------------


def markdown(found: Fused) -> str:
    """Agreement of every formula, then its coefficients."""
    rows = [
        [
            m.name,
            *(_span(m.splits[k]) for k in ("srcc", "plcc", "rmse")),
            *(signed(m.held_out[k], interval=True) for k in ("srcc", "plcc", "rmse")),
            "–" if m.name == found.reference else signed(m.gain, interval=True),
            "–" if m.p is None else f"{m.p:.3f}",
        ]
        for m in found.models
    ]
    head = ["model", "SRCC", "PLCC", "RMSE", "SRCC all", "PLCC all", "RMSE all", f"SRCC - {found.reference}", "p"]
    formulas = [
        [m.name, m.formula, ", ".join(_told(k, c.value, c.low, c.high) for k, c in m.coefficients.items())]
        for m in found.models
    ]
    return "\n\n".join(
        [
            table(head, rows),
            f"A and V from {found.scores}; {found.clips} clips, {found.contents} contents, 1-5. SRCC, PLCC, RMSE: "
            f"median [quartiles] over the test sides of {found.splits} content-separated splits. All: the "
            f"{found.held_out} clips whose content was held out at least once, with the mean of the predictions they "
            "got then; 95 % intervals and p (Holm) are bootstrapped over contents.",
            table(["model", "formula", "fitted on all clips [quartiles over splits]"], formulas),
        ]
    )


def _span(q: Quartiles) -> str:
    return "–" if q.median is None else f"{q.median:.3f} [{q.low:.3f}, {q.high:.3f}]"


def _told(name: str, value: float, low: float, high: float) -> str:
    if low == high:  # a constant
        return f"{name} = {value:.8g}"
    return f"{name} = {value:.4g} [{low:.4g}, {high:.4g}]"


def _lines(found: Fused, who: str, command: str) -> Iterator[Line]:
    for m in found.models:
        yield Line(
            what="overall",
            who=f"{who}: {m.name}" if who else m.name,
            values={k.upper(): n for k, n in m.held_out.items()},
            n=found.held_out,
            of=found.clips,
            baseline=True,
            beside=who,
            command=command,
        )
