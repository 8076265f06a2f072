"""Does the overall score know more than the field's formulas make of the picture's and the sound's score?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eval.baselines.fusion import FusionStudy, study
from eval.baselines.scored import read_scored
from eval.correlate import study as correlation
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind
from eval.suite.samples import chosen
from eval.suite.schema import Line, Task

LABELS = "fused from the labels of both"


class FusionTask(Task):
    """Records with labels of overall, picture and sound."""

    records: Path
    split: str = "test"
    splits: int = 10  # content-separated ones that the formulas are fitted on


def run(task: FusionTask, bench: Bench) -> Iterator[Line]:
    records = chosen(task.records, task.split, bench.settings.limit)
    scores = bench.predict(task, records, task.records.parent)["full"]
    labels = bench.labels(task, records, task.records.parent)
    full = bench.table(task, records, scores)
    if full is None:
        return
    a = correlation(full, labels, score_columns=("overall",), draws=task.draws).result.aspects["overall"]
    command = bench.command(task)
    values = {"SRCC": a.srcc, "PLCC": a.plcc, "RMSE": a.rmse}
    yield Line(what="overall", who=bench.who, values=values, n=a.n, of=a.m, command=command)
    found = study(read_scored(labels, full), task.splits, task.draws, full.name)
    command = shell("fusion", labels, "--pred", full, "--splits", task.splits)
    yield from _lines(found, bench.who, command)


def alone(task: FusionTask, bench: Bench) -> Iterator[Line]:
    """What the formulas make of people's own labels of picture and sound."""
    labels = bench.labels(task, chosen(task.records, task.split, bench.settings.limit), task.records.parent)
    found = study(read_scored(labels), task.splits, task.draws)
    bench.notes += found.notes
    command = shell("fusion", labels, "--splits", task.splits)
    yield from (x.model_copy(update={"table": LABELS}) for x in _lines(found, "", command))


def _lines(found: FusionStudy, who: str, command: str) -> Iterator[Line]:
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


KIND = Kind(
    title="Overall quality against fusions of picture and sound",
    task=FusionTask,
    run=run,
    alone=alone,
    headline=("", "overall", "SRCC"),
    lower=frozenset({"RMSE"}),
)
