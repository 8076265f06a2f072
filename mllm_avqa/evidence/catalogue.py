"""Every fact this package measures, and what a measure hands back before the catalogue turns it into a `Measurement`.

The entries stand in catalogue.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mllm_avqa.schema.measurement import SEVERITIES, Measurement, Severity, graded
from mllm_avqa.schema.names import Side

Thresholds = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Fact:
    """One entry of the catalogue. A value can be bad because it is too large (`above`), too small (`below`) or both."""

    modality: Side
    unit: str
    zh: str  # its name in Chinese; in English it is its key
    explained: Mapping[str, str]  # one sentence for people, by language
    source: str  # where the measure comes from
    above: Thresholds | None = None
    below: Thresholds | None = None
    stretch: Thresholds | None = None  # of its longest span in seconds, in a whole file
    usual: tuple[float, float] | None = None  # where most clips lie; for facts that describe and do not judge
    local: bool = False  # finds a fault in any part of the clip; the others average over it
    content: Severity | None = None  # up to here it speaks of what was filmed and played as often as of a fault

    @property
    def what(self) -> str:
        return self.explained["en"]

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

    @property
    def clean(self) -> float | None:
        """A value without fault: amid both bad ends, else a step better than faint. None: it does not judge."""
        if self.above is not None and self.below is not None:
            return (self.above[0] + self.below[0]) / 2
        t = self.above or self.below
        if t is None:
            return None
        better = 2 * t[0] - t[1]
        return max(better, t[0] / 2) if self.above and t[0] > 0 else better

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


_NUMBERS = ("above", "below", "stretch", "usual")


def _fact(entry: dict[str, Any]) -> Fact:
    limits: dict[str, Any] = {k: tuple(float(t) for t in entry[k]) for k in _NUMBERS if k in entry}
    return Fact(**{**{k: v for k, v in entry.items() if k != "what"}, "explained": entry["what"], **limits})


_ENTRIES = yaml.safe_load(Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8"))
FACTS: dict[str, Fact] = {name: _fact(e) for name, e in _ENTRIES["signal"].items()}  # in the order of the reports
CAPTION_FACTS: dict[str, Fact] = {name: _fact(e) for name, e in _ENTRIES["captions"].items()}
WHOLE_FACTS: dict[str, Fact] = {name: _fact(e) for name, e in _ENTRIES["whole"].items()}
ALL_FACTS = FACTS | CAPTION_FACTS | WHOLE_FACTS


def fact_name(name: str, language: str) -> str:
    """What a fact is called; a stranger's fact keeps its name."""
    if name not in ALL_FACTS:
        return name
    return ALL_FACTS[name].zh if language == "zh" else name.replace("_", " ")


@dataclass
class Found:
    """One finding: a value (None or non-finite: not measurable, `note` says why), spans in seconds, a note."""

    value: float | None
    spans: list[tuple[float, float]] = field(default_factory=list)
    note: str = ""
    severity: Severity | None = None  # only where the catalogue's thresholds do not apply


Findings = dict[str, Found]


def as_measurement(name: str, found: Found) -> Measurement:
    """Round, grade and wrap one finding. Four significant digits keep the value stable across platforms."""
    fact = ALL_FACTS[name]
    value = found.value
    note = found.note
    if value is None or not math.isfinite(value):
        return Measurement(name=name, modality=fact.modality, value=None, unit=fact.unit, note=note or "not measurable")
    value = float(f"{float(value):.4g}")
    severity = found.severity or fact.severity(value)
    spans = [(round(float(a), 3), round(float(b), 3)) for a, b in found.spans]
    return Measurement(
        name=name, modality=fact.modality, value=value, unit=fact.unit, severity=severity, spans=spans, note=note
    )


def median(values: np.ndarray) -> np.ndarray:
    """Median along the last axis; equals `numpy.median`, several times faster: sorting is vectorised, selecting not."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    return np.asarray(ordered[..., (n - 1) // 2 : n // 2 + 1].mean(axis=-1))


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) index pairs of the True stretches of a 1-D mask."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, dtype=np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
