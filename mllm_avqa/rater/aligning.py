"""Do two clips show the same and play the same, and with which delay? From the first window of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mllm_avqa.schema.clip import AudioTrack, Clip, VideoTrack
from mllm_avqa.schema.comparison import Alignment

RATE = 25.0  # steps a second of both signatures
LAG = 3.0  # seconds of delay that are looked for
GRID = 12  # cells across and down a picture
BANDS = 8
SAME_PICTURE, SAME_SOUND = 0.9, 0.6  # likeness from which contents are the same
GAIN = 0.02  # by which another lag must be more alike than none: still pictures are alike at every lag


@dataclass(frozen=True)
class Signature:
    """What a clip shows and plays, coarsely: [steps, cells] and [steps, bands] at `RATE`."""

    pictures: np.ndarray | None
    bands: np.ndarray | None

    @classmethod
    def of(cls, clip: Clip) -> Signature:
        return cls(
            None if clip.video is None else _pictures(clip.video, clip.start),
            None if clip.audio is None else _bands(clip.audio, clip.start),
        )


def align(first: Signature, second: Signature) -> Alignment:
    """Likeness of picture and sound at the lag at which they are most alike; the lag is taken from the surer side."""
    found = Alignment()
    lags: list[tuple[float, float]] = []
    if first.pictures is not None and second.pictures is not None:
        found.picture, lag = _likeness(first.pictures, second.pictures)
        if found.picture >= SAME_PICTURE:
            found.same.append("video")
            lags.append((found.picture, lag))
    if first.bands is not None and second.bands is not None:
        found.sound, lag = _likeness(first.bands, second.bands)
        if found.sound >= SAME_SOUND:
            found.same.append("audio")
            lags.append((found.sound, lag))
    found.lag = round(max(lags, default=(0.0, 0.0))[1], 3)
    return found


def _pictures(track: VideoTrack, start: float) -> np.ndarray:
    """[steps, cells]: what stands out in every picture, at `RATE`; NaN before the first and behind the last."""
    thumbs = track.thumbs.astype(np.float32)
    n, h, w = thumbs.shape
    rows, cols = np.linspace(0, h, GRID + 1).astype(int), np.linspace(0, w, GRID + 1).astype(int)
    cells = np.add.reduceat(np.add.reduceat(thumbs, rows[:-1], axis=1), cols[:-1], axis=2)
    cells /= np.maximum(1, np.diff(rows))[:, None] * np.maximum(1, np.diff(cols))[None]
    times = track.thumb_pts - start
    steps = np.arange(int(times[-1] * RATE) + 1) / RATE
    at = np.clip(np.searchsorted(times, steps + 1e-6, side="right") - 1, 0, n - 1)
    return _standard(cells.reshape(n, -1)[at], axis=1)


def _bands(track: AudioTrack, start: float) -> np.ndarray:
    """[steps, bands]: log energy of octave bands over time, each band about its own mean."""
    mono = track.samples.mean(axis=0)
    pad = max(0, round((track.start - start) * track.rate))
    mono = np.concatenate([np.zeros(pad, np.float32), mono])
    size = max(64, round(track.rate / RATE))
    n = len(mono) // size
    if n < 2:
        return np.zeros((1, BANDS), np.float32)
    power = np.abs(np.fft.rfft(mono[: n * size].reshape(n, size) * np.hanning(size), axis=1)) ** 2
    hertz = np.fft.rfftfreq(size, 1 / track.rate)
    edges = np.geomspace(100, min(6400, track.rate / 2), BANDS + 1)
    bands = np.stack([power[:, (hertz >= a) & (hertz < b)].sum(1) for a, b in pairwise(edges)], 1)
    return _standard(np.log(bands + 1e-7 * bands.max() + 1e-12), axis=0)


def _standard(x: np.ndarray, axis: int) -> np.ndarray:
    x = x - x.mean(axis=axis, keepdims=True)
    return np.asarray(x / (x.std(axis=axis, keepdims=True) + 1e-6), np.float32)


def _likeness(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean correlation at the best lag, and the lag in seconds by which b is late."""
    most = min(int(LAG * RATE), min(len(a), len(b)) // 2)

    def at(lag: int) -> float:
        x, y = a[max(0, -lag) :], b[max(0, lag) :]
        n = min(len(x), len(y))
        return float((x[:n] * y[:n]).mean()) if n else -1.0

    none = at(0)
    best = max(range(-most, most + 1), key=at)
    alike, lag = (at(best), best / RATE) if at(best) > none + GAIN else (none, 0.0)
    return round(alike, 4), lag
