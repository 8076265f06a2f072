"""What cameras and displays do wrong: light beyond the scale, HDR read as SDR, pictures out of shape."""

from __future__ import annotations

import cv2
import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.base import STANDARD, Rng, picture
from data_recipes.distortions.video import per_frame
from data_recipes.distortions.video_colour import BT601

WHITE = 203 / 10000  # diffuse white of an HDR signal, as a share of the 10000 cd/m2 that PQ reaches
# From BT.709 to BT.2020 primaries, linear light (ITU-R BT.2087).
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]], np.float32)
_CODE = np.arange(256) / 255
LIGHT = np.where(_CODE <= 0.04045, _CODE / 12.92, ((_CODE + 0.055) / 1.055) ** 2.4).astype(np.float32)  # sRGB


def _luma_quantile(frames: np.ndarray, share: float) -> float:
    return float(np.quantile(frames[:, ::4, ::4].reshape(-1, 3) @ BT601, share))


@picture(
    "blown",
    (0.03, 0.08, 0.18, 0.35, 0.6),
    "share_of_pixels",
    f"{ref.LIVE_QUALCOMM}, exposure; {ref.KADID} (brighten); {ref.DOSE}",
    on_request=True,
    alike="glare",
    ladder=STANDARD,
)
def blown(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """A gain that drives this share of the pixels into full scale, channel by channel: highlights lose their colour."""
    gain = max(255 / max(_luma_quantile(frames, 1 - value), 16.0), 1 + value)
    return per_frame(frames, lambda f: cv2.convertScaleAbs(f, alpha=gain))


@picture(
    "crushed",
    (0.05, 0.12, 0.25, 0.45, 0.7),
    "share_of_pixels",
    f"{ref.LIVE_QUALCOMM}, exposure; {ref.KADID} (darken); {ref.DOSE}",
    on_request=True,
    alike="dark",
    ladder=STANDARD,
)
def crushed(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """Everything below this share of the pixels is black; white stays white."""
    black = min(max(_luma_quantile(frames, value), 40 * value), 230.0)
    table = np.clip(np.rint((np.arange(256) - black) * 255 / (255 - black)), 0, 255).astype(np.uint8)
    return per_frame(frames, lambda f: cv2.LUT(f, table))


def _pq(light: np.ndarray) -> np.ndarray:
    """Linear light (1: 10000 cd/m2) to the code value 0..1 of SMPTE ST 2084."""
    power = light ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


@picture(
    "pq_as_sdr",
    (0.15, 0.3, 0.5, 0.75, 1.0),
    "share",
    f"{ref.HDR}; {ref.DOSE}",
    on_request=True,
    alike="pale dark",
    ladder=(4.5, 4.0, 3.4, 2.7, 2.1),
)
def pq_as_sdr(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """HDR code values taken for SDR ones: grey and pale. Below level 5 a converter has undone a part of it."""
    codes = (_pq(np.linspace(0, 1, 4096) ** 2 * WHITE) * 255).astype(
        np.float32
    )  # over the root of light: fine in the dark

    def shown(frame: np.ndarray) -> np.ndarray:
        light = cv2.transform(LIGHT[frame], TO_2020)
        wrong = codes[np.rint(np.sqrt(np.clip(light, 0, 1)) * 4095).astype(np.int16)]
        return np.rint(frame * (1 - value) + wrong * value).astype(np.uint8)

    return per_frame(frames, shown)


@picture(
    "stretched",
    (1.06, 1.12, 1.2, 1.33, 1.78),
    "factor",
    f"{ref.RETARGETING}; 1.33 is 4:3 as 16:9; {ref.DOSE}",
    regional=False,
    on_request=True,
    ladder=(4.6, 4.2, 3.6, 2.9, 2.2),
)
def stretched(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """Too wide or too high, by chance; what no longer fits is cut off."""
    h, w = frames.shape[1:3]
    x, y = (value, 1.0) if rng.random() < 0.5 else (1.0, value)
    move = np.array([[x, 0, (1 - x) * (w - 1) / 2], [0, y, (1 - y) * (h - 1) / 2]], np.float32)
    return per_frame(frames, lambda f: cv2.warpAffine(f, move, (w, h), flags=cv2.INTER_LINEAR))
