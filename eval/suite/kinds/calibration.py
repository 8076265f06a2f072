"""Conformal intervals from one split, their coverage and width on another, and the calibration error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, model_validator

from eval.calibration import AspectCalibration, Judged, aspect_calibration
from eval.stats import Number
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind
from eval.suite.samples import chosen
from eval.suite.schema import Line, Task
from mllm_avqa.schema.rating import ASPECTS

CONSTANT = "one width for all clips"


class CalibrationTask(Task):
    records: Path
    split: str = "val"  # that the widths are taken from
    test: str = "test"
    coverage: float = Field(default=0.9, gt=0, lt=1)

    @model_validator(mode="after")
    def _apart(self) -> CalibrationTask:
        if self.split == self.test:
            raise ValueError(f"split and test are both {self.split!r}: clips that calibrate cannot test as well")
        return self


def run(task: CalibrationTask, bench: Bench) -> Iterator[Line]:
    sides = [chosen(task.records, s, bench.settings.limit) for s in (task.split, task.test)]
    scores = bench.predict(task, [r for side in sides for r in side], task.records.parent)["full"]
    command = shell(
        "calibrate", task.records, "--checkpoint", bench.given, "--split", task.split, "--test", task.test,
        "--coverage", f"{task.coverage:g}", "--lang", task.language, "--context", task.context,
    )  # fmt: skip
    for aspect in ASPECTS:
        one, other = (
            Judged.of(
                [(r, scores[r.id][aspect]) for r in side if aspect in r.labels and aspect in scores.get(r.id, {})],
                aspect,
            )
            for side in sides
        )
        if len(one.label) or len(other.label):
            found = aspect_calibration(one, other, task.coverage, aspect, task.language, task.draws)
            if found.note:
                bench.notes.append(f"{bench.who}: {found.note}")
            yield from _lines(found, bench.who, command, sum(aspect in r.labels for r in sides[1]))


def _lines(a: AspectCalibration, who: str, command: str, total: int) -> Iterator[Line]:
    numbers = {"coverage": a.coverage, "width": Number(value=a.width)}
    errors = {"ECE": Number(value=a.ece), "ECE, all levels": Number(value=a.ece_levels)}
    yield Line(what=a.aspect, who=who, values=numbers | errors, n=a.test, of=total, command=command)
    if a.constant_width is not None:
        same = {"coverage": Number(value=a.constant_coverage), "width": Number(value=a.constant_width)}
        yield Line(
            what=a.aspect, who=f"{who}: {CONSTANT}", values=same, n=a.test, baseline=True, beside=who, command=command
        )  # fmt: skip


KIND = Kind(
    title="Calibration",
    task=CalibrationTask,
    run=run,
    headline=("", "overall", "width"),
    lower=frozenset({"width", "ECE", "ECE, all levels"}),
    plain=frozenset({"coverage"}),
)
