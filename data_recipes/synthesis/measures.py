"""Full-reference measures of a fault: the clip before and after it is compared, where a measure answers for its kind.

MS-SSIM of luma is done with OpenCV: on a CPU several times faster than through PyTorch. ViSQOL comes with the optional
package visqol-python. doses.yaml says which is believed for which kind and why the others are left to their dose.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np

from data_recipes.distortions.audio_core import resample
from data_recipes.distortions.base import Material
from data_recipes.synthesis.doses import measure_of
from mllm_avqa.schema.errors import ConfigError

# Exponents of the scales, finest first (Wang, Simoncelli, Bovik, Asilomar 2003, table of section 4).
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5  # Gaussian window of Wang, Bovik, Sheikh, Simoncelli, TIP 2004
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
FRAMES = 24  # compared per clip, evenly spread

RATE = 48000  # Hz, the only rate of ViSQOL's audio model
SHORTEST = 1.0  # seconds; ViSQOL compares patches of about half a second
PACKAGE = "visqol-python"


def check_installed(kinds: Iterable[str]) -> None:
    """Raises ConfigError when a measure that these kinds need is not installed: labels must not depend on that."""
    needing = [k for k in kinds if measure_of(k) == "visqol"]
    if needing and not installed():
        raise ConfigError(
            f"labels of {', '.join(needing)} are measured with ViSQOL, which is not installed: pip install {PACKAGE}, "
            "or set `labels: dose` in the recipe"
        )


def measured(kind: str, before: Material, after: Material, start: float, end: float) -> dict[str, float]:
    """Name and value of the believed measure over start..end seconds, {} where there is none or it has no answer."""
    measure = measure_of(kind)
    if measure == "ms_ssim":
        assert before.frames is not None
        assert after.frames is not None
        part = _between(start, end, before.fps, len(before.frames))
        return {"ms_ssim": round(ms_ssim(before.frames[part], after.frames[part]), 4)}
    if measure == "visqol":
        assert before.sound is not None
        assert after.sound is not None
        part = _between(start, end, before.rate, before.sound.shape[1])
        value = visqol(before.sound[:, part], np.asarray(after.sound[:, part]), before.rate)
        return {} if value is None else {"visqol": round(value, 4)}
    return {}


def _between(start: float, end: float, rate: float, n: int) -> slice:
    first = min(round(start * rate), n - 1)
    return slice(first, min(max(round(end * rate), first + 1), n))


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


def installed() -> bool:
    """Whether the package is there."""
    return find_spec("visqol") is not None


@cache
def _api() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api


def visqol(reference: np.ndarray, distorted: np.ndarray, rate: int) -> float | None:
    """MOS-LQO 1 to about 4.75 of the mono fold-down, model "audio"; None where ViSQOL has no answer.

    reference, distorted: float32 [channels, samples] at `rate` Hz. No answer: shorter than a second, or silent.
    Needs visqol-python (see `installed`). Source: Chinen et al., "ViSQOL v3", QoMEX 2020 (google/visqol).
    """
    n = min(reference.shape[1], distorted.shape[1])
    if n < SHORTEST * rate:
        return None
    pair = [resample(x[:, :n].mean(0, keepdims=True), rate, RATE)[0].astype(np.float64) for x in (reference, distorted)]
    if not all(x.any() for x in pair):
        return None
    value = float(_api().measure_from_arrays(*pair, RATE).moslqo)
    return value if np.isfinite(value) else None
