"""The cross-dataset protocol: one checkpoint, several datasets, none of which it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from eval.board.bench import Bench
from eval.samples import chosen
from eval.stats import Agreement, Mapping, Number, agreement
from eval.study import Heading, Line, Predicted
from mllm_avqa.schema.rating import ASPECTS

MEAN = "mean"
TABLES = {"": "srcc", "PLCC, mapped per dataset": "plcc_mapped"}


class Cross(Predicted):
    """Record files by the name of their dataset."""

    kind: ClassVar[str] = "cross"
    shown: ClassVar[Heading] = Heading(title="Across datasets: SRCC", headline=("", "overall", MEAN))

    sets: dict[str, Path] = Field(min_length=2)
    split: str = "all"
    mapping: Mapping = "logistic4"
    trained: dict[str, list[str]] = Field(default_factory=dict)  # name of a checkpoint on the board -> sets it has seen

    def lines(self, bench: Bench) -> Iterator[Line]:
        found: dict[str, dict[str, Agreement]] = {}  # by set and aspect
        for name, path in self.sets.items():
            records = chosen(path, self.split, bench.settings.limit)
            scores = bench.predict(self, records, path.parent)["full"]
            found[name] = {}
            for aspect in (a for a in ASPECTS if any(a in r.labels for r in records)):
                labelled = [r for r in records if aspect in r.labels]
                rated = [r for r in labelled if aspect in scores.get(r.id, {})]
                found[name][aspect] = agreement(
                    np.array([scores[r.id][aspect].score for r in rated]),
                    np.array([r.labels[aspect].mean_five for r in rated]),
                    groups=[r.group for r in rated],
                    total=len(labelled),
                    mapping=self.mapping,
                    draws=self.draws,
                )
        own = self.trained.get(bench.who, [])
        if own:
            bench.notes.append(f"{bench.who} was trained on {', '.join(own)}: not in its mean")
        for table, statistic in TABLES.items():
            for aspect in ASPECTS:
                given = {name: by[aspect] for name, by in found.items() if aspect in by}
                if given:
                    yield _line(bench, bench.command(self), aspect, given, own, table, statistic)


def _line(
    bench: Bench,
    command: str,
    aspect: str,
    given: dict[str, Agreement],
    own: list[str],
    table: str,
    statistic: str,
) -> Line:
    numbers: dict[str, Number] = {name: getattr(a, statistic) for name, a in given.items()}
    strange = [n.value for name, n in numbers.items() if name not in own and n.value is not None]
    mean = Number(value=round(float(np.mean(strange)), 4)) if strange else Number(note="no dataset with a number")
    return Line(
        what=aspect,
        who=bench.who,
        values=numbers | {MEAN: mean},
        n=sum(a.n for a in given.values()),
        of=sum(a.m for a in given.values()),
        table=table,
        command=command,
    )
