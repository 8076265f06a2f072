"""Multi-scale structural similarity of luma, with OpenCV: on a CPU several times faster than through PyTorch."""

from __future__ import annotations

import cv2
import numpy as np

from mllm_avqa.schema.errors import ConfigError

# Exponents of the scales, finest first (Wang, Simoncelli, Bovik, Asilomar 2003, table of section 4).
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5  # Gaussian window of Wang, Bovik, Sheikh, Simoncelli, TIP 2004
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
FRAMES = 24  # compared per clip, evenly spread


def ms_ssim(reference: np.ndarray, distorted: np.ndarray, frames: int = FRAMES) -> float:
    """Mean MS-SSIM (1 = identical) of the luma of up to `frames` evenly spread frames.

    reference, distorted: uint8 [n, h, w, 3] RGB of one shape. Pictures too small for five scales use fewer, with the
    exponents scaled to the same sum. Source: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image
    quality assessment", Asilomar 2003.

    Raises ConfigError for arrays of different shapes, without frames, or less than 11 pixels high or wide.
    """
    if reference.shape != distorted.shape:
        raise ConfigError(f"frames {distorted.shape} cannot be compared with a reference of {reference.shape}")
    n, h, w = reference.shape[:3]
    if n == 0 or min(h, w) < WINDOW:
        raise ConfigError(f"{n} frames of {w}x{h}: MS-SSIM needs one frame of {WINDOW}x{WINDOW} pixels at least")
    chosen = np.unique(np.linspace(0, n - 1, min(n, frames)).round().astype(int))
    return float(np.mean([_of_frame(_luma(reference[i]), _luma(distorted[i])) for i in chosen]))


def _luma(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _of_frame(x: np.ndarray, y: np.ndarray) -> float:
    scales = min(len(EXPONENTS), int(np.log2(min(x.shape) / WINDOW)) + 1)
    exponents = np.array(EXPONENTS[:scales]) * (sum(EXPONENTS) / sum(EXPONENTS[:scales]))
    product = 1.0
    for scale, exponent in enumerate(exponents):
        luminance, contrast = _terms(x, y)
        term = float((luminance * contrast).mean() if scale == scales - 1 else contrast.mean())
        product *= max(term, 0.0) ** exponent
        x, y = _halved(x), _halved(y)
    return product


def _terms(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance term and contrast-structure term per pixel, where the window fits into the picture."""
    mx, my = _blurred(x), _blurred(y)
    mxx, myy, mxy = mx * mx, my * my, mx * my
    vx, vy, vxy = _blurred(x * x) - mxx, _blurred(y * y) - myy, _blurred(x * y) - mxy
    return (2 * mxy + C1) / (mxx + myy + C1), (2 * vxy + C2) / (vx + vy + C2)


def _blurred(x: np.ndarray) -> np.ndarray:
    edge = WINDOW // 2
    return cv2.GaussianBlur(x, (WINDOW, WINDOW), SIGMA)[edge:-edge, edge:-edge]


def _halved(x: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; an odd last row or column is dropped."""
    h, w = x.shape[0] // 2, x.shape[1] // 2
    out: np.ndarray = cv2.resize(x[: 2 * h, : 2 * w], (max(w, 1), max(h, 1)), interpolation=cv2.INTER_AREA)
    return out
