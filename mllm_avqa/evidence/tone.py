"""Exposure, contrast and colour of a picture."""

from __future__ import annotations

import cv2
import numpy as np

from mllm_avqa.evidence.catalogue import median


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


# ---- noise of all sorts and its opposite, false contours in smooth areas --------------------------------------------

# Second difference in both directions: blind to ramps and straight edges; /6 makes the gain for white noise 1.
_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6


def _block_means(x: np.ndarray, block: int) -> np.ndarray:
    h, w = (n - n % block for n in x.shape)
    return cv2.resize(x[:h, :w], (w // block, h // block), interpolation=cv2.INTER_AREA).ravel()


def flat_sigma(plane: np.ndarray, block: int = 16) -> float | None:
    """Standard deviation of the noise of a uint8 plane [h, w], from the flattest tenth of its blocks.

    Source: Immerkaer, Fast noise variance estimation, CVIU 64(2), 1996; looking at flat blocks only keeps texture out.
    Blocks near black or white are left out, noise is clipped there. None for a picture smaller than 4 x 4 blocks.
    """
    if min(plane.shape) < 4 * block:
        return None
    x = plane.astype(np.float32)
    mean = _block_means(x, block)
    inside = (mean > 16) & (mean < 240)
    residual = cv2.filter2D(x, -1, _KERNEL)
    variance = _block_means(cv2.multiply(residual, residual), block)
    if np.count_nonzero(inside) >= 8:
        variance = variance[inside]
    return float(np.sqrt(np.quantile(variance, 0.1)))


def impulse_share(luma: np.ndarray) -> float:
    """Share (%) of pixels that are nearly black or white and far from the median of their 3 x 3 surroundings."""
    far = np.asarray(cv2.absdiff(luma, cv2.medianBlur(luma, 3))) > 48
    return 100.0 * float(np.count_nonzero(far & ((luma < 8) | (luma > 247)))) / luma.size


def banding_index(luma: np.ndarray) -> float | None:
    """False contours: share (%) of smooth transitions that happen in one step, times the raggedness of the histogram.

    Each factor alone fires on some clean clips, their product does not. The first follows CAMBI (Tandon et al., PCS
    2021): small steps between flat sides. The second counts grey levels that quantisation left empty. None for a tiny
    picture.
    """
    if min(luma.shape) < 32:
        return None
    steps = []
    for turned in (False, True):
        x = np.ascontiguousarray(luma.T) if turned else luma
        row = np.ones((1, 3), np.uint8)
        flat = cv2.subtract(cv2.dilate(x, row), cv2.erode(x, row)) <= 1
        both = flat[:, :-8] & flat[:, 8:]
        rise = np.asarray(cv2.absdiff(x[:, :-8], x[:, 8:]), dtype=np.uint8)
        largest = np.asarray(cv2.dilate(cv2.absdiff(x[:, 1:], x[:, :-1]), np.ones((1, 7), np.uint8)))[:, 3:-4]
        small = both & (rise >= 1) & (rise <= 36)
        sudden = small & (rise >= 2) & (largest >= rise - (rise >> 2))
        steps.append(100.0 * float(np.count_nonzero(sudden)) / max(1.0, float(np.count_nonzero(small))))
    histogram = level_counts(luma)
    total = histogram.cumsum() / histogram.sum()
    lo, hi = (int(i) for i in np.searchsorted(total, [0.02, 0.98]))
    smooth = np.convolve(histogram, np.ones(9) / 9, "same")
    kept = histogram[lo : hi + 1]
    ragged = float(np.abs(kept - smooth[lo : hi + 1]).sum()) / max(1.0, float(kept.sum()))
    return float(np.mean(steps) * ragged)
