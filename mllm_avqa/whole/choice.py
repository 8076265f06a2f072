"""Which windows of a long file are looked at, by what a pass over all of it found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mllm_avqa.schema.whole import Chosen, Whole
from mllm_avqa.whole.spans import overlap

WORST = 4  # one window of so many goes to the worst spots
SCENES = 8  # one of so many to scenes that no other shows
_TELLING = 0.5  # seconds of a fault in a window that make it a bad spot


def choose(starts: Sequence[float], seconds: float, most: int, whole: Whole) -> list[tuple[float, Chosen]]:
    """`most` of the windows that begin at `starts` and last `seconds`, in order, each with why it was chosen.

    A quarter of them shows the worst spots, each another fault, an eighth the longest scenes that nothing else shows,
    the others lie evenly. Without faults and cuts all lie evenly.
    """
    chosen: dict[float, Chosen] = dict.fromkeys(_worst(starts, seconds, most // WORST, whole), "worst")
    cuts = [a for m in whole.facts if m.name == "scene_cuts" for a, _ in m.spans]
    scenes = most // SCENES if cuts else 0
    for start in evenly(starts, most - len(chosen) - scenes):
        chosen.setdefault(start, "even")
    for start in _scenes(starts, seconds, scenes, cuts, list(chosen), whole.until):
        chosen[start] = "scene"
    while len(chosen) < min(most, len(starts)):  # two reasons for one window leave room for another
        taken = np.array(list(chosen))
        far = max((s for s in starts if s not in chosen), key=lambda s: float(np.abs(taken - s).min()))
        chosen[far] = "even"
    return sorted(chosen.items())


def evenly(starts: Sequence[float], most: int) -> list[float]:
    if len(starts) <= most:
        return list(starts)
    step = (len(starts) - 1) / max(1, most - 1)
    return [starts[round(i * step)] for i in range(most)]


def _worst(starts: Sequence[float], seconds: float, most: int, whole: Whole) -> list[float]:
    """Windows with most of a fault, of another stretch each, the longest stretches first."""
    spans = sorted((s for found in whole.faults.values() for s in found), key=lambda s: s[0] - s[1])
    seen: list[float] = []
    for a, b in spans:
        if len(seen) == most or b - a < _TELLING:
            break
        if any(overlap([(a, b)], s, s + seconds) >= _TELLING for s in seen):
            continue
        best = max(starts, key=lambda s: (min(b, s + seconds) - max(a, s), -s))
        seen.append(best)
    return seen


def _scenes(
    starts: Sequence[float], seconds: float, most: int, cuts: Sequence[float], taken: Sequence[float], end: float
) -> list[float]:
    """The middle of the longest scenes that no window touches."""
    found: list[float] = []
    for a, b in sorted(pairwise([0.0, *cuts, end]), key=lambda s: s[0] - s[1]):
        if len(found) == most:
            break
        inside = [s for s in starts if s >= a and s + seconds <= b]
        if inside and not any(s < b and s + seconds > a for s in taken):
            found.append(inside[len(inside) // 2])
    return found
