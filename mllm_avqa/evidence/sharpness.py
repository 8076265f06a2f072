"""Blur (width of edges) and detail (energy of fine octaves): both depend little on what the picture shows."""

from __future__ import annotations

import cv2
import numpy as np

_SIGMA0 = 1.5  # px, the extra blur
_EDGE_SHARE = 0.12  # share of pixels with the strongest gradient that may be edges
_MIN_GRADIENT = 0.5  # levels per px below which there is no edge to speak of
_MIN_PIXELS = 60  # edge pixels a direction needs before it may vote


def at_540p(luma: np.ndarray, full_side: int) -> np.ndarray:
    """Picture scaled down so that `full_side` (shorter side of the uncropped picture) becomes 540; never scaled up."""
    k = 540.0 / full_side
    if k >= 1.0:
        return luma
    h, w = luma.shape
    return cv2.resize(luma, (max(8, round(w * k)), max(8, round(h * k))), interpolation=cv2.INTER_AREA)


def edge_width(luma: np.ndarray) -> tuple[float, float] | None:
    """(sigma, anisotropy) of the edges of uint8 `luma` [h, w], or None where there are too few edges.

    sigma is the median Gaussian width in px of the strongest edges in the blurriest of four directions, so that motion
    blur counts; anisotropy is its ratio to the sharpest direction. At a step edge of width s, blurring by s0 divides
    the gradient by R = sqrt(1 + (s0 / s)^2) whatever the contrast, hence s = s0 / sqrt(R^2 - 1).
    Source: Zhuo and Sim, Defocus map estimation from a single image, Pattern Recognition 44(9), 2011.
    """
    if min(luma.shape) < 32:
        return None
    gx, gy = (g.astype(np.float32) for g in cv2.spatialGradient(luma))
    # cv2.magnitude approximates the root, differently from one memory alignment to the next.
    before = np.sqrt(gx * gx + gy * gy) * np.float32(0.125)
    blurred = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), _SIGMA0)
    bx = cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=0.125)
    by = cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=0.125)
    threshold = max(float(np.quantile(before[::3, ::3], 1.0 - _EDGE_SHARE)), _MIN_GRADIENT)
    # Ridge of the gradient only: on the flanks of an edge the ratio says something else.
    ridge = (before >= threshold) & (before >= cv2.dilate(before, np.ones((3, 3), np.uint8)))
    ridge[:6] = ridge[-6:] = False
    ridge[:, :6] = ridge[:, -6:] = False
    at = np.flatnonzero(ridge.ravel())
    strength = before.ravel()[at]
    ratio = strength / np.maximum(np.hypot(bx.ravel()[at], by.ravel()[at]), 1e-3)
    sigma = _SIGMA0 / np.sqrt(np.maximum(ratio * ratio - 1.0, 1e-2))
    direction = np.floor(np.arctan2(gy.ravel()[at], gx.ravel()[at]) * (4 / np.pi) + 0.5).astype(int) % 4
    widths = []
    for k in range(4):
        mine = np.flatnonzero(direction == k)
        if mine.size < _MIN_PIXELS:
            continue
        strongest = mine[strength[mine] >= np.quantile(strength[mine], 0.67)]
        widths.append(float(np.median(sigma[strongest])))
    return (max(widths), max(widths) / min(widths)) if widths else None


def detail_slope(luma: np.ndarray) -> float | None:
    """Energy of fine detail relative to that two octaves coarser, dB, averaged over two pairs of octaves.

    0 is the scale-free spectrum of natural scenes (Field, JOSA A 4(12), 1987); octaves come from a Laplacian pyramid
    (Burt and Adelson, IEEE Trans. Communications 31(4), 1983). None for a featureless or tiny picture.
    """
    if min(luma.shape) < 64:
        return None
    energy = []
    current: np.ndarray = luma.astype(np.float32)
    for _ in range(4):
        down = cv2.pyrDown(current)
        band = current - cv2.pyrUp(down, dstsize=(current.shape[1], current.shape[0]))
        energy.append(float(cv2.norm(band, cv2.NORM_L2SQR)) / band.size + 0.05)
        current = down
    if energy[3] < 1.0:
        return None
    db = 10 * np.log10(energy)
    return float(db[0] - db[2] + db[1] - db[3]) / 2
