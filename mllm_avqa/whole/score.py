"""How whole-file faults weigh in the scores of a clip, beside what its windows say. Written down in docs/DESIGN.md.

A window stands for the time that is nearest to it. So the windows together already stand for a share of faulty time;
what the file has beyond that, no window told the model of, and moves the distribution towards the lowest level. Where
the windows show all of a file, nothing is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mllm_avqa.model.scoring import summarise
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.schema.whole import Chosen, Coverage, Whole
from mllm_avqa.whole.coverage import coverage
from mllm_avqa.whole.facts import replaced
from mllm_avqa.whole.overview import Overview
from mllm_avqa.whole.spans import length, overlap

RULE = "1"  # of this file and of the choice of windows: part of a rating's fingerprint
_GRID = 0.1  # seconds
SIDES_OF = {"video": ("video",), "audio": ("audio",), "overall": ("video", "audio")}  # by aspect


@dataclass(frozen=True)
class Weighing:
    """What the look over a file adds to what its windows say. stands_for: None where all windows weigh alike."""

    coverage: Coverage
    whole: Whole | None = None
    stands_for: list[float] | None = None
    moved: dict[str, float] = field(default_factory=dict)

    def evidence(self, windows: list[Measurement]) -> list[Measurement]:
        """Facts for people: the windows', or the whole file's in their place where windows show only a part."""
        return windows if self.whole is None or self.coverage.whole else replaced(windows, self.whole)


def weigh(seen: Overview, places: Sequence[Looked]) -> Weighing:
    """How whole-file faults and the choice of windows weigh in a file's scores; not at all where all of it is seen."""
    told = coverage(seen, [(p.start, p.end) for p in places])
    if seen.whole is None or told.whole:
        return Weighing(told, seen.whole)
    duration = seen.info.duration
    evenly = all(p.chosen == "even" for p in places)
    seconds = [round(duration / len(places), 1)] * len(places) if evenly else stands_for(places, duration)
    shares = unseen(seen.whole, places, seconds, duration)
    moved = weights(shares, [s for s in ("video", "audio") if getattr(seen.info, s) is not None])
    shown = {a for p in places for a in p.aspects}
    moved = {a: w for a, w in moved.items() if a in shown}
    whole = seen.whole.model_copy(update={"unseen": {s: round(x, 4) for s, x in shares.items()}, "moved": moved})
    return Weighing(told, whole, seconds, moved)


@dataclass(frozen=True)
class Looked:
    """A window on the clock of its file, why it was looked at, and the aspects that it has scores of."""

    start: float
    end: float
    chosen: Chosen
    aspects: frozenset[str]


def stands_for(places: Sequence[Looked], duration: float) -> list[float]:
    """Seconds of the file that each window stands for: its own, and those nearest to it that no window shows.

    A window at one of the worst spots stands for itself alone.
    """
    grid = np.arange(_GRID / 2, max(duration, max(p.end for p in places)), _GRID)
    owner = np.full(len(grid), -1)
    nearest = np.full(len(grid), np.inf)
    for k, p in enumerate(places):
        away = np.maximum(np.maximum(p.start - grid, grid - p.end), 0.0)
        if p.chosen == "worst":
            away[away > 0] = np.inf
        closer = away < nearest
        owner[closer], nearest[closer] = k, away[closer]
    counts = np.bincount(owner[owner >= 0], minlength=len(places))
    return [round(float(c) * _GRID, 1) for c in counts]


def unseen(whole: Whole, places: Sequence[Looked], seconds: Sequence[float], duration: float) -> dict[str, float]:
    """By side, the share of faulty time that its windows do not stand for; of sides that have scores and faults."""
    out: dict[str, float] = {}
    for side, spans in whole.faults.items():
        own = [(p, s) for p, s in zip(places, seconds, strict=True) if side in p.aspects]
        if not own or duration <= 0:
            continue
        total = sum(s for _, s in own)
        told = sum(s * overlap(spans, p.start, p.end) / max(p.end - p.start, 1e-9) for p, s in own) / max(total, 1e-9)
        share = min(1.0, length(spans) / duration)
        if share > told:
            out[side] = (share - told) / (1 - told)
    return out


def weight(share: float) -> float:
    """Of a share of unseen faulty time: 0 at 0, 1 at 1, rising; a little of it weighs twice its time."""
    return 1 - (1 - share) ** 2


def weights(shares: dict[str, float], sides: Sequence[str]) -> dict[str, float]:
    """By aspect, what moves to the lowest level; overall takes the mean of the sides that are there."""
    out: dict[str, float] = {}
    for aspect, of in SIDES_OF.items():
        there = [s for s in of if s in sides]
        share = sum(shares.get(s, 0.0) for s in there) / max(1, len(there))
        if share > 0:
            out[aspect] = round(weight(share), 4)
    return out


def lowered(score: ScoreDistribution, moved: float) -> ScoreDistribution:
    """The distribution with this share of it moved to the lowest level."""
    table = (1 - moved) * np.array([score.probs[w] for w in WORDS])
    table[-1] += moved
    return summarise(table, score.mass)
