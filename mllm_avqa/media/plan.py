"""Which frames of a window keep their native resolution: a pure function of the sorted presentation times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Run:
    """Keep the first `count` frames with `first <= pts < stop` (ticks).

    Stated as a rule rather than as a list so that a damaged file, which loses some of them, yields its neighbours.
    """

    first: int
    stop: int
    count: int


def plan_runs(pts: Sequence[int], end: int, segments: int, per_segment: int) -> list[Run]:
    """Runs of consecutive frames at the middle of equal parts of the window.

    Args:
        pts: sorted presentation times of the window's frames, in ticks.
        end: where the window or the stream ends, in ticks; parts divide [pts[0], end).
        segments: number of parts.
        per_segment: frames wanted from each part; a part with fewer gives all it has, an empty one gives none.

    Returns:
        Disjoint runs in presentation order; no frame is ever named twice.
    """
    times = np.asarray(pts, dtype=np.int64)
    if len(times) == 0:
        return []
    begin, end = int(times[0]), max(end, int(times[-1]) + 1)
    if len(times) <= segments * per_segment:
        return [Run(begin, end, len(times))]
    # Integer edges: float rounding must not decide which of two frames is taken.
    # Some slack: millisecond timestamps must not choose other frames than exact ones. Three sixteenths of a frame,
    # because the middles of parts lie at whole eighths of one for all usual rates.
    slack = int(np.median(np.diff(times))) * 3 // 16
    edges = [begin + (end - begin) * k // segments for k in range(segments + 1)]
    runs = []
    for low, high in pairwise(edges):
        first, last = np.searchsorted(times, [low, high])
        count = int(min(per_segment, last - first))
        if count == 0:
            continue
        shown = int(np.searchsorted(times, (low + high) // 2 + slack, side="right")) - 1  # on screen at the middle
        at = min(max(shown - (count - 1) // 2, int(first)), int(last) - count)
        runs.append(Run(int(times[at]), high, count))
    return runs
