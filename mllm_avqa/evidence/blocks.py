"""Grids in the picture: coding blocks of 8 px and mosaics of any cell size."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

_CAP = 24  # gradient that one pixel may contribute: strong edges of the scene must not decide
_PERIODS = np.exp(np.arange(np.log(1.9), np.log(28.0), 0.004))
_MOSAIC = 0.18  # strength of the grid from which a mosaic is reported; clean clips stay below 0.13
_DCT_MOSAIC = 0.45  # the same where the period is that of coding blocks (8 or 16 px)


def gradient_profiles(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean capped gradient of each column step [w - 1] and of each row step [h - 1], float32."""
    out = []
    for axis in (0, 1):
        d = cv2.absdiff(luma[:, 1:], luma[:, :-1]) if axis == 0 else cv2.absdiff(luma[1:], luma[:-1])
        np.minimum(d, _CAP, out=d)
        out.append(cv2.reduce(d, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel())
    return out[0], out[1]


def block_excess(profiles: tuple[np.ndarray, np.ndarray], period: int = 8) -> float | None:
    """How far the strongest of the `period` phases stands above the median phase, dB, mean of both axes."""
    values = []
    for p in profiles:
        n = p.size // period * period
        if n < 4 * period:
            return None
        phases = np.sort(p[:n].reshape(-1, period).mean(0))
        values.append(20 * np.log10((phases[-1] + 0.3) / (np.median(phases) + 0.3)))
    return float(np.mean(values))


@lru_cache(maxsize=16)
def _harmonics(n_fft: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of all harmonics of every candidate period, where each period's group starts, and its weight."""
    counts = np.maximum(1, (_PERIODS / 2).astype(int))
    k = np.concatenate([np.arange(1, c + 1) for c in counts])
    index = np.minimum(np.round(k * n_fft / np.repeat(_PERIODS, counts)).astype(int), n_fft // 2)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return index, starts, 1 / np.sqrt(counts)


def _grid(profile: np.ndarray) -> tuple[float, float]:
    """(period in px, strength) of the most regular grid in one profile.

    A grid is an impulse train, so its spectrum has equal lines at all multiples of 1 / period.
    """
    n = profile.size
    around = cv2.blur(profile[None], (33, 1))[0]
    excess = np.log2((profile + 0.3) / (around + 0.3))
    n_fft = 1 << int(np.ceil(np.log2(n * 8)))
    spectrum = np.abs(np.fft.rfft((excess - excess.mean()) * np.hanning(n), n_fft)) * (2 / n)
    index, starts, weight = _harmonics(n_fft)
    strength = np.add.reduceat(spectrum[index], starts) * weight
    best = int(strength.argmax())
    return float(_PERIODS[best]), float(strength[best])


def mosaic_cell(profiles: tuple[np.ndarray, np.ndarray]) -> float | None:
    """Cell size in px of a mosaic or nearest-neighbour enlargement; None when there is none or the picture is tiny."""
    if min(p.size for p in profiles) < 120:
        return None
    (px, sx), (py, sy) = (_grid(p) for p in profiles)
    if abs(np.log(px / py)) > 0.05:
        return None
    period = float(np.sqrt(px * py))
    coding = min(abs(np.log(period / p)) for p in (4.0, 8.0, 16.0)) < 0.02
    return period if min(sx, sy) >= (_DCT_MOSAIC if coding else _MOSAIC) else None


def combing(luma: np.ndarray) -> float | None:
    """Share of pixels (%) that are an extreme of their column while the lines around agree, minus the same across rows.

    Interlaced fields of a moving scene look like that on lines only; texture does so in both directions.
    """
    if min(luma.shape) < 16:
        return None
    shares = []
    for axis in (0, 1):
        x = luma if axis == 0 else np.ascontiguousarray(luma.T)
        above, here, below = x[:-2], x[1:-1], x[2:]
        out = cv2.max(cv2.subtract(here, cv2.max(above, below)), cv2.subtract(cv2.min(above, below), here))
        agree = cv2.absdiff(above, below)
        comb = np.asarray(out > 9) & np.asarray(agree < np.asarray(out, dtype=np.uint8) >> 1)
        shares.append(100.0 * float(np.count_nonzero(comb)) / comb.size)
    return max(0.0, shares[0] - shares[1])
