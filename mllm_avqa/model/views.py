"""Model-ready frames and sound. Deterministic: same clip, same spec, same bytes.

`global` shows the whole frame small; `fragments` shows native-resolution mini-patches from a grid
(FAST-VQA, arXiv 2207.02595, with fixed instead of random offsets), so that fine damage is never resampled away.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from mllm_avqa.media.resample import to_mono
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.clip import Clip, MediaInfo
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.names import Withheld
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.text import TextContext
from mllm_avqa.schema.whole import Chosen

MIN_SOUND_SECONDS = 0.1  # shorter sound gives the audio tower no token


@dataclass
class Views:
    """What the model sees of one window; an absent part is None."""

    whole: np.ndarray | None  # uint8 [n, h, w, 3], n even, sides multiples of spec.patch
    fragments: np.ndarray | None  # uint8 [n, rows * patch, cols * patch, 3]
    sound: np.ndarray | None  # float32 [samples] mono at spec.audio_rate
    seconds_per_pair: float = 1.0  # time between neighbouring frame pairs
    notes: dict[str, object] = field(default_factory=dict)  # what was done to the input


class Showable(Protocol):
    """What the model is shown and told of one window: a window just prepared, or one that training has kept."""

    views: Views
    evidence: list[Measurement]
    context: TextContext
    missing: dict[str, str]  # aspect -> why it cannot be judged


W = TypeVar("W", bound=Showable)


def withheld(window: W, without: Collection[Withheld]) -> W:
    """The window as a model sees it that is kept from these parts. What can be judged stays as it was."""
    if not without:
        return window
    v = window.views
    views = Views(
        None if "pixels" in without else v.whole,
        None if "pixels" in without else v.fragments,
        None if "sound" in without else v.sound,
        v.seconds_per_pair,
        v.notes,
    )
    evidence = [] if "facts" in without else window.evidence
    context = TextContext() if "context" in without else window.context
    return replace(window, views=views, evidence=evidence, context=context)  # type: ignore[type-var]


@dataclass
class Prepared:
    """One window of a file, ready to be encoded (`windows.py` makes it)."""

    start: float
    end: float
    info: MediaInfo
    views: Views
    evidence: list[Measurement]
    context: TextContext
    missing: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # wall time per room
    chosen: Chosen = "all"  # why it is looked at

    @property
    def aspects(self) -> list[str]:
        return [a for a in ASPECTS if a not in self.missing]

    def free(self) -> None:
        """Let pixels and sound go; what was found in them stays."""
        self.views.whole = self.views.fragments = self.views.sound = None


def make_views(clip: Clip, spec: ViewSpec) -> Views:
    """Views of one decoded window."""
    whole = fragments = sound = None
    notes: dict[str, object] = {}
    pair_seconds = spec.window_seconds / spec.segments
    if clip.video is not None:
        frames = _even(clip.video.frames)
        height, width = frames.shape[1:3]
        whole = _whole(frames, spec)
        fragments = native_patches(frames, spec)
        if len(clip.video.pts) > spec.frames_per_segment:
            pair_seconds = float(clip.video.pts[-1] - clip.video.pts[0]) / max(1, len(frames) // 2 - 1)
        notes |= {
            "frame_times": [round(float(t), 3) for t in clip.video.pts],
            "native_size": [width, height],
            "global_size": [whole.shape[2], whole.shape[1]],
            "fragment_grid": [fragments.shape[1] // spec.patch, fragments.shape[2] // spec.patch],
        }
    if clip.audio is not None and clip.audio.samples.shape[1] >= MIN_SOUND_SECONDS * clip.audio.rate:
        sound = to_mono(clip.audio.samples, clip.audio.rate, spec.audio_rate)
        notes |= {
            "sound_seconds": round(len(sound) / spec.audio_rate, 3),
            "sound_resampled": f"{clip.audio.rate} Hz x {clip.audio.samples.shape[0]} -> {spec.audio_rate} Hz mono",
        }
    return Views(whole, fragments, sound, max(pair_seconds, 1e-3), notes)


def _even(frames: np.ndarray) -> np.ndarray:
    """The backbone merges frames in pairs: an odd last frame is paired with itself."""
    return frames if len(frames) % 2 == 0 else np.concatenate([frames, frames[-1:]])


def _whole(frames: np.ndarray, spec: ViewSpec) -> np.ndarray:
    """Whole frames, aspect kept as nearly as multiples of the patch allow, within the pixel budget."""
    import cv2

    h, w = frames.shape[1:3]
    scale = min(1.0, (spec.global_pixels / (h * w)) ** 0.5)
    rows = max(1, round(h * scale / spec.patch))
    cols = max(1, round(w * scale / spec.patch))
    while rows * cols * spec.patch**2 > spec.global_pixels:  # one patch always fits: `ViewSpec`
        rows, cols = (rows - 1, cols) if cols == 1 or (rows > 1 and rows * w > cols * h) else (rows, cols - 1)
    size = (cols * spec.patch, rows * spec.patch)
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])


def native_patches(frames: np.ndarray, spec: ViewSpec) -> np.ndarray:
    """Native mini-patches; frames of one segment share their positions so that temporal damage survives."""
    n, h, w = frames.shape[:3]
    side = spec.patch
    if h < side or w < side:  # smaller than one patch: mirror-free edge padding invents no detail
        pad = ((0, 0), (0, max(0, side - h)), (0, max(0, side - w)), (0, 0))
        frames = np.pad(frames, pad, mode="edge")
        h, w = frames.shape[1:3]
    rows, cols = min(spec.fragment_grid[0], h // side), min(spec.fragment_grid[1], w // side)
    out = np.empty((n, rows * side, cols * side, 3), np.uint8)
    for i in range(n):
        segment = i // spec.frames_per_segment
        for r in range(rows):
            for c in range(cols):
                y = _offset(r, rows, h, side, segment * 7 + c)
                x = _offset(c, cols, w, side, segment * 5 + r + 3)
                out[i, r * side : (r + 1) * side, c * side : (c + 1) * side] = frames[i, y : y + side, x : x + side]
    return out


def _offset(cell: int, cells: int, length: int, side: int, salt: int) -> int:
    """Start of a mini-patch inside its grid cell, on the 8-pixel lattice of block codecs where that fits.

    The golden-ratio sequence spreads the starts evenly over the cell without randomness.
    """
    low = cell * length // cells
    room = (cell + 1) * length // cells - low - side
    start = low + int((salt * 0.6180339887 % 1.0) * (room + 1))
    aligned = start // 8 * 8
    return aligned if aligned >= low else start
