"""What mending leaves of a picture: halos of sharpeners, painted edges of upscalers, smears of learnt codecs."""

from __future__ import annotations

import cv2
import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.base import Rng, picture
from data_recipes.distortions.video import per_frame, rescaled, scale_of

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@picture(
    "halo",
    (0.4, 0.8, 1.4, 2.4, 4.0),
    "amount",
    f"{ref.SHARPENING}; unsharp mask, radius 5 px at 540p; {ref.MSSSIM_540}",
    on_request=True,
    alike="glare",
    ladder=(4.5, 3.9, 3.2, 2.5, 1.9),
)
def halo(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """Bright and dark rims along edges, wide enough to be seen as such."""
    sigma = max(5 * scale_of(frames), 1.5)
    return per_frame(frames, lambda f: cv2.addWeighted(f, 1 + value, cv2.GaussianBlur(f, (0, 0), sigma), -value, 0))


_UPSCALED = ((1.5, 1), (2.0, 2), (2.5, 3), (3.0, 4), (4.0, 6))


@picture(
    "painted",
    tuple({"factor": f, "steps": n} for f, n in _UPSCALED),
    "",
    f"{ref.SHOCK}; {ref.MSSSIM_540}",
    on_request=True,
    alike="soft glare",
    ladder=(4.4, 3.8, 3.1, 2.4, 1.8),
)
def painted(frames: np.ndarray, value: dict[str, float], rng: Rng, fps: float) -> np.ndarray:
    """Fewer pixels brought back by a sharpener that knows edges and no texture: flat patches with hard rims."""

    def sharpened(frame: np.ndarray) -> np.ndarray:
        for _ in range(int(value["steps"])):
            bend = cv2.Laplacian(cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.0), cv2.CV_16S)
            frame = cv2.copyTo(cv2.dilate(frame, CROSS), (bend < 0).view(np.uint8), cv2.erode(frame, CROSS))
        return frame

    return per_frame(rescaled(frames, value["factor"], cv2.INTER_CUBIC), sharpened)


@picture(
    "plastic",
    (8.0, 16.0, 28.0, 45.0, 70.0),
    "tolerance_of_255",
    f"{ref.LEARNT_CODEC}; {ref.MSSSIM_540}",
    on_request=True,
    alike="soft",
    ladder=(4.5, 3.9, 3.2, 2.4, 1.7),
)
def plastic(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """Texture weaker than the tolerance is smeared in space and sticks in time; edges stay sharp."""
    reach = max(4 * scale_of(frames), 1.5)
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        smooth = cv2.bilateralFilter(cv2.bilateralFilter(frame, 7, value, reach), 7, value, reach)
        if i:
            still = cv2.absdiff(smooth, out[i - 1]).max(2, keepdims=True) < value / 2
            smooth = np.where(still, cv2.addWeighted(smooth, 0.5, out[i - 1], 0.5, 0), smooth)
        out[i] = smooth
    return out
