"""What a conversion found: counts, ranges, directions, and how the copies at hand differ."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from data_recipes.datasets.problems import Problems
from mllm_avqa.schema.records import Label


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
class Report:
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
