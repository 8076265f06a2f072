"""Facts of the picture over time, from the luma thumbnail of every decoded frame."""

from __future__ import annotations

import cv2
import numpy as np

from mllm_avqa.evidence.catalogue import Findings, Found, runs
from mllm_avqa.schema.clip import Clip

_NAMES = ("frame_rate", "flicker", "freeze", "duplicate_frames", "judder", "black", "shake", "motion")
_STATIC = 0.12  # levels; below this nothing moves, so a held frame cannot be told from a new one
_CUT = 40.0  # levels; a larger difference is a cut, not motion
_MIN_FREEZE = 0.4  # seconds


def measure_temporal(clip: Clip) -> Findings:
    """Facts of `clip.video.thumbs` uint8 [m, h, w]. All are None for a still image or a single frame."""
    track = clip.video
    if track is None:
        return {}
    thumbs, pts = track.thumbs, np.asarray(track.thumb_pts, dtype=np.float64)
    if len(thumbs) < 2 or pts[-1] <= pts[0]:
        return {name: Found(None, note="a single picture") for name in _NAMES}
    flat = thumbs.reshape(len(thumbs), -1)
    mean = np.array([cv2.sumElems(t)[0] for t in thumbs]) / flat.shape[1]
    diff = np.array([_difference(flat[i], flat[i - 1]) for i in range(1, len(flat))])
    is_black = mean <= 20
    is_black[is_black] = np.count_nonzero(flat[is_black] > 32, axis=1) <= 0.02 * flat.shape[1]
    ends = np.append(pts[1:], pts[-1] + float(np.median(np.diff(pts))))  # when each frame leaves the screen

    out: Findings = {"black": black(is_black, pts, ends), "motion": Found(float(np.median(diff)))}
    repeated = repeats(diff)
    out |= cadence(repeated, is_black, pts, ends)
    new = diff > 0.02 if repeated is None else ~repeated  # [m - 1] frame i + 1 differs from frame i
    out["flicker"] = flicker(mean, diff, is_black)
    out["shake"] = shake(thumbs, new)
    return out


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(cv2.norm(a, b, cv2.NORM_L1)) / a.size


_AT_ONCE = 1 << 14  # frames: a film has hundreds of thousands


def repeats(diff: np.ndarray) -> np.ndarray | None:
    """Which of the frames 1 .. m - 1 repeat the one before; None when next to nothing moves in the clip
    (a still scene, a screen, a slide show).

    A re-encoded repeat differs a little, and a calm scene differs little from frame to frame, so a repeat has to be far
    below the clip's usual motion and also below that of its neighbours (or next to nothing).
    """
    moving = diff[(diff > _STATIC) & (diff < _CUT)]
    if moving.size < max(2, 0.04 * diff.size):
        return None
    usual = float(np.quantile(moving, 0.9))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(diff, 10, mode="edge"), 21)
    parts = (windows[k : k + _AT_ONCE] for k in range(0, len(windows), _AT_ONCE))
    around = np.concatenate([np.partition(p, -2, axis=1)[:, -2] for p in parts])  # a single cut must not decide
    low = diff <= np.clip(0.12 * usual, 0.02, 0.6)
    return low & ((diff <= 0.15 * around) | (diff <= max(0.05, 0.02 * usual)))


def black(is_black: np.ndarray, pts: np.ndarray, ends: np.ndarray) -> Found:
    spans = [(pts[a], ends[b - 1]) for a, b in runs(is_black)]
    return Found(100.0 * float(is_black.mean()), spans=spans)


def cadence(repeated: np.ndarray | None, is_black: np.ndarray, pts: np.ndarray, ends: np.ndarray) -> Findings:
    """Freezes, repeated frames, the true frame rate outside freezes, and how regular it is."""
    nominal = (len(pts) - 1) / (pts[-1] - pts[0])
    if repeated is None:
        note = "next to nothing moves: held frames cannot be told from new ones"
        out = {name: Found(None, note=note) for name in ("freeze", "duplicate_frames", "judder")}
        return out | {"frame_rate": Found(float(nominal), note="from timestamps alone, next to nothing moves")}
    repeat = np.concatenate([[False], repeated]) & ~is_black
    frozen = np.zeros(len(pts), dtype=bool)
    spans = []
    for a, b in runs(repeat):
        start, end = float(pts[a - 1]), float(ends[b - 1])
        if end - start >= _MIN_FREEZE + (ends[a - 1] - pts[a - 1]):
            spans.append((start, end))
            frozen[a:b] = True
    longest = max((b - a for a, b in spans), default=0.0)
    gaps = _intervals(repeat, frozen, pts)
    if len(gaps) < 2:
        rate, judder = Found(float(nominal), note="too few frames to tell repeats"), Found(None, note="too few frames")
    else:
        rate = Found(1.0 / float(gaps.mean()), note=f"{nominal:.4g} fps in the file")
        judder = Found(100.0 * float(gaps.std() / gaps.mean()))
    share = 100.0 * float(repeat[1:].mean())
    freeze = Found(longest, spans=spans)
    return {"freeze": freeze, "duplicate_frames": Found(share), "frame_rate": rate, "judder": judder}


def _intervals(repeat: np.ndarray, frozen: np.ndarray, pts: np.ndarray) -> np.ndarray:
    """Seconds between successive different frames; an interval that holds a freeze is left out."""
    shown = np.flatnonzero(~repeat)
    gaps = np.diff(pts[shown])
    held = np.add.reduceat(frozen.astype(int), shown)[: len(gaps)] > 0
    return gaps[~held]


def flicker(mean: np.ndarray, diff: np.ndarray, is_black: np.ndarray) -> Found:
    """Second difference of the mean luma, relative; the largest twentieth is dropped (cuts, flashes)."""
    if len(mean) < 8:
        return Found(None, note="fewer than 8 frames")
    jump = mean[1:-1] - (mean[:-2] + mean[2:]) / 2
    level = np.maximum(mean[1:-1], 8.0)
    usable = ~(is_black[1:-1] | is_black[:-2] | is_black[2:]) & (np.maximum(diff[1:], diff[:-1]) < 60)
    relative = np.sort(np.abs(jump / level)[usable])
    if relative.size < 6:
        return Found(None, note="too few frames between cuts")
    kept = relative[: max(6, int(relative.size * 0.95))]
    return Found(100.0 * float(np.sqrt(np.mean(kept**2))))


# ---- jitter of the camera -------------------------------------------------------------------------------------------

_PAIRS = 120  # at most so many frame pairs are looked at, in four stretches spread over the clip


def _stretches(n: int) -> list[range]:
    if n <= _PAIRS:
        return [range(n)]
    part = _PAIRS // 4
    return [range(k * n // 4 + (n // 4 - part) // 2, k * n // 4 + (n // 4 - part) // 2 + part) for k in range(4)]


def shake(thumbs: np.ndarray, new: np.ndarray) -> Found:
    """Jitter of the global motion of `thumbs` uint8 [m, h, w] in px at 540p; `new` bool [m - 1] skips repeats.

    Shifts come from phase correlation (Kuglin and Hines, 1975). A frame whose position has independent jitter of s px
    gives a second difference of shifts with a deviation of sqrt(5) s, so the value is the jitter of the position.
    """
    m, h, w = thumbs.shape
    if m < 8 or min(h, w) < 16:
        return Found(None, note="too few or too small frames")
    window = cv2.createHanningWindow((w, h), cv2.CV_32F)
    jitter: list[float] = []
    for stretch in _stretches(m - 1):
        shifts = np.full((len(stretch), 2), np.nan)
        for row, i in enumerate(stretch):
            if new[i]:
                a, b = thumbs[i].astype(np.float32), thumbs[i + 1].astype(np.float32)
                (dx, dy), response = cv2.phaseCorrelate(a, b, window)
                if response > 0.1 and np.hypot(dx, dy) < 0.25 * min(h, w):
                    shifts[row] = dx, dy
        second = shifts[1:-1] - (shifts[:-2] + shifts[2:]) / 2
        jitter.extend(np.square(second).sum(axis=1)[~np.isnan(second).any(axis=1)])
    if len(jitter) < 5:
        return Found(None, note="the motion between frames is too small or too unlike a camera's to tell")
    kept = np.sort(jitter)[: max(5, int(len(jitter) * 0.95))]
    return Found(float(np.sqrt(kept.mean() / 2 / 5)) * 540 / min(h, w))
