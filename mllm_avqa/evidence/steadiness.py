"""Jitter of the camera."""

from __future__ import annotations

import cv2
import numpy as np

from mllm_avqa.evidence.catalogue import Found

_PAIRS = 120  # at most so many frame pairs are looked at, in four stretches spread over the clip


def _stretches(n: int) -> list[range]:
    if n <= _PAIRS:
        return [range(n)]
    part = _PAIRS // 4
    return [range(k * n // 4 + (n // 4 - part) // 2, k * n // 4 + (n // 4 - part) // 2 + part) for k in range(4)]


def shake(thumbs: np.ndarray, new: np.ndarray) -> Found:
    """Jitter of the global motion of `thumbs` uint8 [m, h, w] in px at 540p; `new` bool [m - 1] skips repeats.

    Shifts come from phase correlation (Kuglin and Hines, 1975). A frame whose position has independent jitter of s px
    gives a second difference of shifts with a deviation of sqrt(5) s, so the value is the jitter of the position.
    """
    m, h, w = thumbs.shape
    if m < 8 or min(h, w) < 16:
        return Found(None, note="too few or too small frames")
    window = cv2.createHanningWindow((w, h), cv2.CV_32F)
    jitter: list[float] = []
    for stretch in _stretches(m - 1):
        shifts = np.full((len(stretch), 2), np.nan)
        for row, i in enumerate(stretch):
            if new[i]:
                a, b = thumbs[i].astype(np.float32), thumbs[i + 1].astype(np.float32)
                (dx, dy), response = cv2.phaseCorrelate(a, b, window)
                if response > 0.1 and np.hypot(dx, dy) < 0.25 * min(h, w):
                    shifts[row] = dx, dy
        second = shifts[1:-1] - (shifts[:-2] + shifts[2:]) / 2
        jitter.extend(np.square(second).sum(axis=1)[~np.isnan(second).any(axis=1)])
    if len(jitter) < 5:
        return Found(None, note="the motion between frames is too small or too unlike a camera's to tell")
    kept = np.sort(jitter)[: max(5, int(len(jitter) * 0.95))]
    return Found(float(np.sqrt(kept.mean() / 2 / 5)) * 540 / min(h, w))
