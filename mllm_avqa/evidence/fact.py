"""One entry of the catalogue: what a fact is and when it is bad."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mllm_avqa.schema.measurement import SEVERITIES, Modality, Severity, graded

Thresholds = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Fact:
    """One entry of the catalogue. A value can be bad because it is too large (`above`), too small (`below`) or both."""

    modality: Modality
    unit: str
    what: str  # one sentence for people
    source: str  # where the measure comes from
    above: Thresholds | None = None
    below: Thresholds | None = None
    usual: tuple[float, float] | None = None  # where most clips lie; for facts that describe and do not judge

    def severity(self, value: float) -> Severity:
        """The worse of the two directions; "none" for a fact that carries no judgement."""
        verdicts = [graded(value, t) for t in (self.above, self.below) if t is not None]
        return max(verdicts, key=SEVERITIES.index, default="none")

    def digit(self, value: float) -> int | None:
        """A value without fault on one digit: 9 just below faint, one less for every step better; None: undescribed.

        For a fact that does not judge, the place of the value within the usual range: 0 low .. 9 high.
        """
        if self.usual is not None:
            low, high = self.usual
            return min(9, max(0, math.floor(10 * (value - low) / (high - low))))
        grade = self.grade(value)
        return None if grade is None else min(9, max(0, math.floor(grade) + 9))

    def grade(self, value: float) -> float | None:
        """Severity as a number: 1 at the faint threshold .. 5 at the severe one, linear between and beyond.

        Below 1 it goes on with the first step's slope: -2 is three steps better than faint. None without thresholds.
        """
        return max((_grade(value, t) for t in (self.above, self.below) if t is not None), default=None)


def _grade(value: float, thresholds: Thresholds) -> float:
    sign = 1 if thresholds[-1] > thresholds[0] else -1
    v, t = sign * value, [sign * x for x in thresholds]
    k = next((i for i in range(4) if v < t[i + 1]), 3)  # the step that v lies in, the outer ones without end
    return k + 1 + (v - t[k]) / (t[k + 1] - t[k])
