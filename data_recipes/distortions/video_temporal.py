"""Faults in time: dropped, repeated, frozen and black frames, shake, combing, ghosting.

All are index maps or running means over the frames, so that the frame count stays the same. They are of whole frames:
none has a place in the picture.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.base import HARSH, MILD, STANDARD, Rng, picture
from data_recipes.distortions.video import scale_of

_timed = partial(picture, regional=False)


# Doses after Ou et al. 2011, between talking heads (decay 7.4 over the share of frames) and sport (3): at 10 frames a
# second a talking head is no disaster.
@_timed(
    "framedrop",
    (20.0, 15.0, 10.0, 6.0, 3.0),
    "fps",
    f"{ref.BVI_HFR}; {ref.FRAME_RATE}",
    alike="stutter",
    ladder=(4.8, 4.6, 4.1, 3.4, 2.5),
)
def frame_drop(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    n = len(frames)
    kept = min(value, 0.8 * fps)  # a clip already at or below the target rate still loses a fifth of its frames
    tick = np.floor(np.arange(n) * (kept / fps) + 1e-9)
    first = np.searchsorted(tick, tick)  # hold the first frame of every tick
    return frames[first]


@_timed(
    "jerky",
    (0.08, 0.18, 0.32, 0.5, 0.7),
    "share_repeated",
    f"{ref.JERKINESS}; {ref.DOSE}",
    alike="stutter unsteady",
    ladder=STANDARD,
)
def jerky(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    n = len(frames)
    order = 1 + rng.permutation(n - 1)  # the first frame has nothing before it to repeat
    held = np.zeros(n, bool)
    held[order[: min(n - 1, max(1, round(value * n)))]] = True
    return frames[np.maximum.accumulate(np.where(held, 0, np.arange(n)))]


@_timed(
    "freeze",
    (0.08, 0.16, 0.28, 0.45, 0.7),
    "share_of_clip",
    f"{ref.UNB}, frame freezing; {ref.LIVE_STALLING}; {ref.DOSE}",
    alike="stutter",
    ladder=STANDARD,
)
def freeze(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    n = len(frames)
    length = max(1, min(round(value * n), n - 1))
    start = 1 + int(rng.random() * (n - length))  # first repeated frame; 1..n-length
    index = np.arange(n)
    index[start : start + length] = start - 1
    return frames[index]


@_timed(
    "shake",
    (1.0, 2.5, 5.0, 9.0, 15.0),
    "sigma_px_540",
    f"{ref.LIVE_QUALCOMM}, stabilisation; {ref.DOSE}",
    alike="unsteady",
    ladder=STANDARD,
)
def shake(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    h, w = frames.shape[1:3]
    moves = rng.standard_normal((len(frames), 2)) * max(value * scale_of(frames), 0.25)
    out = np.empty_like(frames)
    for i, (frame, (dx, dy)) in enumerate(zip(frames, moves, strict=True)):
        matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        cv2.warpAffine(frame, matrix, (w, h), dst=out[i], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return out


@_timed(
    "interlace",
    (1, 2, 3, 5, 8),
    "frames_between_fields",
    f"{ref.INTERLACING}; {ref.VMAF_540}",
    alike="double",
    ladder=MILD,
)
def interlace(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    out = frames.copy()
    out[:, 1::2] = frames[np.maximum(np.arange(len(frames)) - int(value), 0), 1::2]
    return out


@_timed(
    "ghosting",
    (2, 3, 5, 8, 12),
    "frames_averaged",
    f"frame averaging as in {ref.BVI_HFR}; {ref.VMAF_540}",
    alike="double soft",
)
def ghosting(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    # Running sum: add the new frame, take the one that leaves; exact in uint16 (12 * 255 < 65536).
    out = np.empty_like(frames)
    window = int(value)
    total = np.zeros(frames.shape[1:], np.uint16)
    for i, frame in enumerate(frames):
        cv2.add(total, frame, dst=total, dtype=cv2.CV_16U)
        if i >= window:
            cv2.subtract(total, frames[i - window], dst=total, dtype=cv2.CV_16U)
        cv2.convertScaleAbs(total, dst=out[i], alpha=1 / min(i + 1, window))
    return out


@_timed(
    "black_frames",
    (0.01, 0.03, 0.06, 0.12, 0.22),
    "share",
    f"{ref.KEY_INDICATORS}; {ref.DOSE}",
    alike="unsteady",
    ladder=HARSH,
)
def black_frames(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    n = len(frames)
    out = frames.copy()
    out[rng.permutation(n)[: max(1, round(value * n))]] = 0
    return out
