"""Holes, silences and clicks of the sound."""

from __future__ import annotations

import numpy as np

from mllm_avqa.evidence.catalogue import Found
from mllm_avqa.evidence.found import median, runs

_SILENT = 1e-6  # power of -60 dBFS
_MIN_SILENCE = 0.3  # seconds
_HOP = 0.001  # seconds of the fine envelope
_HOLE = (0.004, 0.3)  # shortest and longest dropout in seconds


def silence(samples: np.ndarray, rate: int, start: float) -> Found:
    """Share (%) of float32 [channels, n] below -60 dBFS for 0.3 s or more, with spans; 10 ms frames."""
    step = max(1, rate // 100)
    n = samples.shape[1] // step
    if n < 1:
        return Found(None, note="shorter than 10 ms")
    power = np.square(samples[:, : n * step]).reshape(samples.shape[0], n, step).mean(axis=2).max(axis=0)
    spans = []
    for a, b in runs(power < _SILENT):
        if (b - a) * step / rate >= min(_MIN_SILENCE, n * step / rate):
            spans.append((start + a * step / rate, start + b * step / rate))
    covered = sum(b - a for a, b in spans)
    note = "digital silence throughout" if not samples.any() else ""
    return Found(100.0 * covered / (n * step / rate), spans=spans, note=note)


def dropouts(mono: np.ndarray, rate: int, start: float) -> Found:
    """Share (%) of the sound lost in abrupt holes of 4 to 300 ms, with spans.

    A hole lies 30 dB or more under the sound on both sides of it and below -45 dBFS. It begins with a fall of 20 dB
    within 3 ms from the level that the sound had there, where pauses of speech fade; they may well end in a jump.
    """
    step = max(1, int(rate * _HOP))
    n = mono.size // step
    if n < 100:
        return Found(None, note="shorter than 0.1 s")
    db = 10 * np.log10(np.square(mono[: n * step]).reshape(n, step).mean(axis=1) + 1e-12)
    side = int(_HOLE[1] / 2 / _HOP)
    low = (db < np.minimum(_recent_max(db, side), _recent_max(db[::-1], side)[::-1]) - 30) & (db < -45)
    spans, lost = [], 0
    for a, b in runs(low):
        if a < 3 or b > n - 3 or not _HOLE[0] <= (b - a) * step / rate <= _HOLE[1]:
            continue
        before = float(db[a - 3 : a].max())
        fall, rise = before - float(db[a : a + 2].min()), float(db[b : b + 3].max() - db[b - 2 : b].min())
        cut = fall >= 20 and before >= float(db[max(0, a - 30) : a].max()) - 15
        if cut and rise >= 8:
            spans.append((start + a * step / rate, start + b * step / rate))
            lost += b - a
    return Found(100.0 * lost / n, spans=_merged(spans))


def _recent_max(x: np.ndarray, n: int) -> np.ndarray:
    """Largest of the `n` values up to and including each one."""
    from scipy.ndimage import maximum_filter1d

    return maximum_filter1d(x, n, origin=(n - 1) // 2, mode="nearest")


def _merged(spans: list[tuple[float, float]], gap: float = 0.03, limit: int = 40) -> list[tuple[float, float]]:
    """Neighbouring holes become one span; the longest `limit` are kept, in order."""
    out: list[tuple[float, float]] = []
    for a, b in spans:
        if out and a - out[-1][1] <= gap:
            out[-1] = (out[-1][0], b)
        else:
            out.append((a, b))
    longest = sorted(out, key=lambda s: s[0] - s[1])[:limit]
    return sorted(longest)


def clicks(mono: np.ndarray, rate: int) -> Found:
    """Clicks per second: outliers of the second difference against its surroundings of 10 ms.

    After the prediction residual of Godsill and Rayner, Digital Audio Restoration, 1998.
    """
    if mono.size < rate // 5:
        return Found(None, note="shorter than 0.2 s")
    residual = np.abs(np.diff(mono, n=3))
    block = max(16, rate // 500)  # 2 ms
    n = residual.size // block
    blocks = residual[: n * block].reshape(n, block)
    top = blocks.max(axis=1)
    usual = median(blocks)
    neighbours = np.maximum(np.median(np.stack([np.roll(usual, k) for k in (-3, -2, 2, 3)]), axis=0), usual)
    around = np.maximum.reduce([np.roll(top, k) for k in (-4, -3, 3, 4)])
    hit = (top > 12 * neighbours) & (top > 4 * around) & (top > 0.004)
    return Found(len(runs(hit)) * rate / mono.size)
