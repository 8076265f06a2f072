"""The field's repeated-split protocol: median and quartiles over the test sides of a record file's `folds`.

A checkpoint given as a pattern, `runs/mine/fold{fold}`, is one that was trained per split: split k is rated by its own
checkpoint. Any other checkpoint rates every test side, which is right for one that was trained on none of the clips.
Source of the protocol: VSFA, Li, Jiang, Jiang, ACM MM 2019 (median over repeated content-separated splits).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eval.board.bench import Bench, ScoresById
from eval.samples import chosen
from eval.stats import Mapping, Number, mapped, rmse, spearman, undefined
from eval.study import Heading, Line, Predicted
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record


class Splits(Predicted):
    """Records with `folds`: what `python -m data_recipes split` writes."""

    kind: ClassVar[str] = "splits"
    shown: ClassVar[Heading] = Heading(
        title="Repeated splits: median [quartiles]",
        headline=("", "overall", "SRCC"),
        lower=frozenset({"RMSE"}),
        plain=frozenset({"splits"}),
        counts=frozenset({"splits"}),
    )

    records: Path
    mapping: Mapping = "logistic4"

    def lines(self, bench: Bench) -> Iterator[Line]:
        records = chosen(self.records, "all", bench.settings.limit)
        count = folds(self.records, records)
        sides = [[r for r in records if r.folds[k] == "test"] for k in range(count)]
        scores = [bench.fold(k).predict(self, side, self.records.parent)["full"] for k, side in enumerate(sides)]
        for aspect in (a for a in ASPECTS if any(a in r.labels for r in records)):
            yield _line(self, aspect, sides, scores, bench)


def folds(path: Path, records: Sequence[Record]) -> int:
    """How many splits the records are in. Raises ConfigError for none, or for different numbers."""
    counts = {len(r.folds) for r in records}
    if len(counts) != 1 or 0 in counts:
        raise ConfigError(
            f"{path}: not every record has the same number of folds; `python -m data_recipes split` deals them"
        )
    return counts.pop()


def _line(
    task: Splits, aspect: str, sides: Sequence[Sequence[Record]], per_fold: Sequence[ScoresById], bench: Bench
) -> Line:
    rated = [
        [r for r in side if aspect in r.labels and aspect in scores.get(r.id, {})]
        for side, scores in zip(sides, per_fold, strict=True)
    ]
    pairs = [
        ([scores[r.id][aspect].score for r in side], [r.labels[aspect].mean_five for r in side])
        for side, scores in zip(rated, per_fold, strict=True)
    ]
    key = ["splits", task.mapping, pairs]
    found = bench.remember(key, lambda: statistics(pairs, task.mapping), model=False)
    values, why = found["values"], found["why"]
    given = len(values["SRCC"])
    if given < len(sides):
        bench.notes.append(f"{bench.who}, {aspect}: {len(sides) - given} of {len(sides)} splits left out: {why}")
    numbers = {name: over(column, why) for name, column in values.items()}
    return Line(
        what=aspect,
        who=bench.who,
        values=numbers | {"splits": Number(value=given)},
        n=len({r.id for side in rated for r in side}),
        of=len({r.id for side in sides for r in side if aspect in r.labels}),
        command=bench.command(task),
    )


def statistics(pairs: Sequence[tuple[list[float], list[float]]], mapping: Mapping) -> dict[str, Any]:
    """SRCC, PLCC and RMSE after the mapping of every split's (predictions, labels), and why a split has none."""
    values: dict[str, list[float]] = {"SRCC": [], "PLCC": [], "RMSE": []}
    why = ""
    for predictions, labels in pairs:
        x, y = np.array(predictions), np.array(labels)
        reason = undefined(x, y)
        if reason:
            why = reason
            continue
        z, plcc, _ = mapped(x, y, mapping)
        for name, value in (("SRCC", spearman(x, y)), ("PLCC", plcc), ("RMSE", rmse(z, y))):
            values[name].append(value)
    return {"values": values, "why": why}


def over(values: Sequence[float], why: str = "") -> Number:
    """Median, with the quartiles as its ends."""
    if not values:
        return Number(note=why)
    low, median, high = (round(float(q), 4) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return Number(value=median, low=low, high=high)
