"""What a conversion found: counts, ranges, how the copies at hand differ, and what is wrong and where."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from mllm_avqa.schema.records import Label

SHOWN = 3  # places named per kind of problem


@dataclass
class Problem:
    is_error: bool
    count: int = 0
    places: list[str] = field(default_factory=list)


@dataclass
class Problems:
    """Errors refuse the conversion once everything is read; warnings are reported with their number."""

    found: dict[str, Problem] = field(default_factory=dict)

    def error(self, what: str, place: str) -> None:
        self._add(what, place, True)

    def warn(self, what: str, place: str, count: int = 1) -> None:
        self._add(what, place, False, count)

    def _add(self, what: str, place: str, is_error: bool, count: int = 1) -> None:
        entry = self.found.setdefault(what, Problem(is_error))
        entry.count += count
        if len(entry.places) < SHOWN:
            entry.places.append(place)

    @property
    def errors(self) -> int:
        return sum(f.count for f in self.found.values() if f.is_error)

    def lines(self) -> list[str]:
        """One line per kind, errors first."""
        ordered = sorted(self.found.items(), key=lambda item: not item[1].is_error)
        return [
            f"{'error' if f.is_error else 'warning'}: {what}: {f.count} ({'; '.join(f.places)}"
            f"{'; ...' if f.count > len(f.places) else ''})"
            for what, f in ordered
        ]


@dataclass
class Range:
    """Running count, extremes and sum of one aspect's scores."""

    scale: tuple[float, float]
    higher_is_better: bool
    n: int = 0
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    with_std: int = 0
    with_votes: int = 0

    def add(self, label: Label) -> None:
        self.n += 1
        self.low, self.high = min(self.low, label.mean), max(self.high, label.mean)
        self.total += label.mean
        self.with_std += label.std is not None
        self.with_votes += label.votes is not None

    @property
    def mean(self) -> float:
        return self.total / self.n


@dataclass
class ConversionReport:
    """Counts of one conversion; `problems` with errors means that nothing was written."""

    dataset: str
    layout: str
    files: list[str]
    records: int = 0
    missing: int = 0
    other_case: int = 0
    parts: dict[str, int] = field(default_factory=dict)  # rated clips by part or split
    aspects: dict[str, Range] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    copies: list[str] = field(default_factory=list)  # a line per part of every other copy that lies here
    problems: Problems = field(default_factory=Problems)

    def count(self, part: str, labels: dict[str, Label]) -> None:
        self.parts[part] = self.parts.get(part, 0) + 1
        for aspect, label in labels.items():
            self.aspects.setdefault(aspect, Range(label.scale, label.higher_is_better)).add(label)

    def numbers(self) -> dict[str, Any]:
        """The report as JSON data."""
        aspects = {
            name: {
                "n": r.n, "min": round(r.low, 4), "max": round(r.high, 4), "mean": round(r.mean, 4),
                "scale": list(r.scale), "higher_is_better": r.higher_is_better,
                "with_std": r.with_std, "with_votes": r.with_votes,
            }
            for name, r in self.aspects.items()
        }  # fmt: skip
        problems = [{"what": w, "error": f.is_error, "count": f.count} for w, f in self.problems.found.items()]
        return {
            "dataset": self.dataset, "layout": self.layout, "files": self.files, "records": self.records,
            "groups": len(self.groups), "missing_media": self.missing, "parts": self.parts, "aspects": aspects,
            "copies": self.copies, "problems": problems,
        }  # fmt: skip
