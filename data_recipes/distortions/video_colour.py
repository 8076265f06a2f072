"""Exposure, contrast and colour faults: one gain, table or matrix per clip (per frame for flicker)."""

from __future__ import annotations

import cv2
import numpy as np

from data_recipes.distortions.base import MILD, STANDARD, Five, Rng, picture
from data_recipes.distortions.references import DOSE, FLICKER, KADID, SRGB
from data_recipes.distortions.video import SPACED, per_frame

GRADUAL: Five = (4.5, 3.9, 3.2, 2.5, 1.9)  # colour that stays watchable for long
BT601 = np.array([0.299, 0.587, 0.114], np.float32)  # luma weights of ITU-R BT.601


def exposure_table(stops: float) -> np.ndarray:
    """256-entry uint8 table that multiplies linear light (sRGB curve, IEC 61966-2-1) by 2**stops."""
    code = np.arange(256) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4) * 2.0**stops
    light = np.clip(light, 0, 1)
    back = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(back * 255).astype(np.uint8)


EXPOSURE = f"{SPACED} (brighten, darken), in stops of linear light by the {SRGB}"


@picture("underexp", (-0.7, -1.4, -2.2, -3.1, -4.2), "stops", EXPOSURE, alike="dark")
@picture("overexp", (0.4, 0.8, 1.3, 1.9, 2.6), "stops", EXPOSURE, alike="glare")
def exposure(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    table = exposure_table(value)
    return per_frame(frames, lambda f: cv2.LUT(f, table))


@picture(
    "high_contrast", (1.25, 1.5, 1.9, 2.5, 3.5), "factor", f"{SPACED} (contrast change)", alike="glare", ladder=GRADUAL
)
@picture("low_contrast", (0.8, 0.62, 0.46, 0.32, 0.2), "factor", f"{SPACED} (contrast change)", alike="dark pale")
def contrast(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    # One pivot for the whole clip: a pivot per frame would add flicker.
    pivot = float((frames[:, ::4, ::4].reshape(-1, 3) @ BT601).mean())
    table = np.clip(np.rint((np.arange(256) - pivot) * value + pivot), 0, 255).astype(np.uint8)
    return per_frame(frames, lambda f: cv2.LUT(f, table))


@picture(
    "oversat",
    (1.4, 1.9, 2.6, 3.6, 5.0),
    "factor",
    f"{KADID} (colour saturation); {DOSE}",
    alike="colour",
    ladder=(4.5, 3.9, 3.3, 2.6, 2.0),
)
@picture(
    "desat", (0.75, 0.5, 0.3, 0.12, 0.0), "factor", f"{KADID} (colour saturation); {DOSE}", alike="pale", ladder=MILD
)
def saturation(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    # out = luma + value * (in - luma), as one 3x3 matrix; cv2.transform rounds and saturates
    matrix = np.eye(3, dtype=np.float32) * value + (1 - value) * BT601[None, :]
    return per_frame(frames, lambda f: cv2.transform(f, matrix))


@picture(
    "cast",
    (6.0, 12.0, 19.0, 28.0, 40.0),
    "lab_units",
    f"{KADID} (colour shift), CIELAB a,b in a random direction; {DOSE}",
    alike="colour",
    ladder=GRADUAL,
)
def colour_cast(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    hue = rng.uniform(0, 2 * np.pi)
    shift = np.array([0, value * np.cos(hue), value * np.sin(hue)])
    # 8-bit Lab in OpenCV stores a and b at one unit per step
    table = np.clip(np.rint(np.arange(256)[:, None] + shift), 0, 255).astype(np.uint8).reshape(256, 1, 3)

    def tinted(frame: np.ndarray) -> np.ndarray:
        lab = cv2.LUT(cv2.cvtColor(frame, cv2.COLOR_RGB2LAB), table)
        out: np.ndarray = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
        return out

    return per_frame(frames, tinted)


@picture(
    "flicker", (0.03, 0.07, 0.13, 0.22, 0.35), "gain_amplitude", f"{FLICKER}; {DOSE}", alike="unsteady", ladder=STANDARD
)
def flicker(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    gains = iter(1 + rng.uniform(-value, value, len(frames)))
    return per_frame(frames, lambda f: cv2.convertScaleAbs(f, alpha=float(next(gains))))
