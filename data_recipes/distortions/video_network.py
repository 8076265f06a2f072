"""What networks and players do to a picture: lost slices, stalls, switches of frame rate and of quality.

All are of whole frames in time, and the picture is in step again after each. Doses are those of published models.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import cv2
import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.base import Rng, picture
from data_recipes.distortions.video_codec import round_trip

SLICES = 8  # of a frame, each a packet: about what 540 lines at 2 Mbit/s need
SEGMENT = 0.75  # seconds between two switches

_streamed = partial(picture, regional=False, on_request=True)


@_streamed(
    "lost_slices",
    (0.003, 0.01, 0.02, 0.05, 0.1),
    "share_of_packets",
    f"{ref.G1070}; a key frame a second",
    alike="blocks stutter",
    ladder=(4.5, 3.7, 2.8, 1.5, 1.1),
)
def lost_slices(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """A lost slice stays as the frame before showed it; differences to it carry the error on to the next key frame."""
    n, h = frames.shape[:2]
    draws = rng.random((n, SLICES))
    draws[0] = 1.0  # a stream starts with what has arrived
    lost = draws <= max(value, float(draws.min()))
    rows = [slice(a, b) for a, b in pairwise(np.arange(SLICES + 1) * h // SLICES)]
    out = frames.copy()
    error = np.zeros(frames.shape[1:], np.int16)
    for i in range(1, n):
        if i % max(2, round(fps)) == 0:
            error[:] = 0
        out[i] = np.clip(frames[i] + error, 0, 255)
        for k in np.flatnonzero(lost[i]):
            out[i, rows[k]] = out[i - 1, rows[k]]
        error = out[i].astype(np.int16) - frames[i]
    return out


_STALLS = ((1, 0.1), (1, 0.2), (2, 0.3), (2, 0.45), (3, 0.6))


@_streamed(
    "rebuffering",
    tuple({"stalls": n, "share": s} for n, s in _STALLS),
    "",
    f"{ref.YOUTUBE}, for clips of 8 s",
    alike="stutter",
    ladder=(4.1, 3.8, 3.2, 2.9, 2.5),
)
def rebuffering(frames: np.ndarray, value: dict[str, float], rng: Rng, fps: float) -> np.ndarray:
    """The picture stands, dimmed under a turning ring, and goes on where the live picture is by then."""
    n, h, w = frames.shape[:3]
    places, count = rng.random(3), int(value["stalls"])
    length = max(1, round(value["share"] * n / count))
    out = frames.copy()
    for k, place in enumerate(places[:count]):
        first = round((k + place) * n / count - place * length)
        for i in range(max(first, 1), min(first + length, n)):
            out[i] = frames[max(first, 1) - 1] // 2
            turn = 360.0 * i / fps
            side, thick = max(3, h // 12), max(1, h // 90)
            cv2.ellipse(out[i], (w // 2, h // 2), (side, side), turn, 0, 270, (235, 235, 235), thick, cv2.LINE_AA)
    return out


def switched(frames: np.ndarray, low: np.ndarray, rng: Rng, fps: float) -> np.ndarray:
    """Every second segment of `frames` taken from `low`; the first switch comes at random."""
    phase = rng.random()
    second = np.floor(np.arange(len(frames)) / fps / SEGMENT + phase).astype(int) % 2 == 1
    if not second.any():  # a clip shorter than a segment
        second[len(second) // 2 :] = True
    return np.where(second[:, None, None, None], low, frames)


@_streamed(
    "rate_switch",
    (15.0, 10.0, 7.5, 5.0, 3.0),
    "fps",
    f"{ref.RATE_VARIATION}; {ref.FRAME_RATE}",
    alike="stutter",
    ladder=(4.7, 4.4, 4.0, 3.4, 2.6),
)
def rate_switch(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    tick = np.floor(np.arange(len(frames)) * (min(value, 0.8 * fps) / fps) + 1e-9)
    return switched(frames, frames[np.searchsorted(tick, tick)], rng, fps)


_RUNGS = ((32, 1.5), (35, 2.0), (38, 2.5), (41, 3.0), (44, 4.0))


@_streamed(
    "bitrate_ladder",
    tuple({"crf": c, "downscale": d} for c, d in _RUNGS),
    "",
    f"{ref.LIVE_NFLX}, switches between rungs of a ladder; x264 veryfast at constant quality",
    alike="blocks soft",
    ladder=(4.2, 3.6, 3.0, 2.4, 1.8),
)
def bitrate_ladder(frames: np.ndarray, value: dict[str, float], rng: Rng, fps: float) -> np.ndarray:
    h, w = frames.shape[1:3]
    small = (max(2, round(w / value["downscale"])), max(2, round(h / value["downscale"])))
    rung = np.stack([cv2.resize(f, small, interpolation=cv2.INTER_AREA) for f in frames])
    coded = round_trip(rung, fps, "libx264", "h264", {"preset": "veryfast", "crf": str(value["crf"])})
    low = np.stack([cv2.resize(f, (w, h), interpolation=cv2.INTER_CUBIC) for f in coded])
    return switched(frames, low, rng, fps)
