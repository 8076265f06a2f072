"""Exposure, contrast and colour of a picture."""

from __future__ import annotations

import cv2
import numpy as np

from mllm_avqa.evidence.found import median


def level_counts(luma: np.ndarray) -> np.ndarray:
    """How many pixels of uint8 `luma` have each of the 256 levels, float64 [256]."""
    return np.asarray(cv2.calcHist([luma], [0], None, [256], [0, 256]), dtype=np.float64).ravel()


def luma_facts(luma: np.ndarray) -> dict[str, float]:
    """Levels of uint8 luma.

    `over` and `crushed`: % of pixels at the ends of the scale; `dim`: stops that the brightest 5 % stay below white
    (display gamma 2.2); `contrast`: 2 % to 98 % range, % of full scale; `mean`: levels.
    """
    histogram = level_counts(luma) / luma.size
    total = histogram.cumsum()
    lo, bright, hi = np.searchsorted(total, [0.02, 0.95, 0.98])
    return {
        "over": 100.0 * float(histogram[248:].sum()),
        "crushed": 100.0 * float(histogram[:4].sum()),
        "dim": 2.2 * float(np.log2(255 / max(1, bright))),
        "contrast": float(hi - lo) / 2.55,
        "mean": float(histogram @ np.arange(256)),
    }


def colourfulness(rgb: np.ndarray) -> float:
    """Colourfulness of uint8 RGB [h, w, 3]. Source: Hasler and Suesstrunk, Proc. SPIE 5007, 2003."""
    r, g, b = (c.astype(np.float32) for c in cv2.split(rgb))
    rg, yb = r - g, (r + g) * 0.5 - b
    (m1,), (s1,) = (x.ravel() for x in cv2.meanStdDev(rg))
    (m2,), (s2,) = (x.ravel() for x in cv2.meanStdDev(yb))
    return float(np.hypot(s1, s2) + 0.3 * np.hypot(m1, m2))


def colour_cast(rgb: np.ndarray) -> float:
    """Distance of the mean colour of the less colourful half of the pixels from grey, in Lab units (a*, b*).

    Source: grey-world assumption, Buchsbaum, J. Franklin Institute 310(1), 1980.
    """
    lightness, a, b = (plane.ravel() for plane in cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)))
    usable = (lightness > 25) & (lightness < 240)
    a, b = (plane[usable].astype(np.int32) - 128 for plane in (a, b))
    if a.size < 64:
        return 0.0
    chroma = a * a + b * b
    grey = chroma <= np.sort(chroma)[(a.size - 1) // 2]  # the lower median: none lies between it and the median
    return float(np.hypot(median(a[grey]), median(b[grey])))
