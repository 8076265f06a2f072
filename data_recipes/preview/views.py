"""What shows a fault of each family: a view is made of the clean clip and the worst level, then draws every level."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

from data_recipes.distortions import Material, draw_captions
from data_recipes.preview import plots

Draw = Callable[[Material], np.ndarray]  # a material to a cell [h, WIDTH, 3]
PICTURE, DETAIL, SLICE = 180, 72, 72  # px of height


def _frames(material: Material) -> np.ndarray:
    assert material.frames is not None
    return material.frames


def _sound(material: Material) -> np.ndarray:
    assert material.sound is not None
    return material.sound


def telling_frame(clean: np.ndarray, worst: np.ndarray) -> int:
    """Number of the middle frame, or of the one that differs most where the middle one is as it was."""
    middle = len(clean) // 2
    if (clean[middle] != worst[middle]).any():
        return middle
    return int(np.argmax([cv2.norm(a, b, cv2.NORM_L1) for a, b in zip(clean, worst, strict=True)]))


def busiest(energy: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
    """The rectangle of this size (smaller where the picture is) with most `energy` [h, w] in it."""
    h, w = min(height, energy.shape[0]), min(width, energy.shape[1])
    total = np.pad(energy.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    y, x = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return slice(int(y), int(y) + h), slice(int(x), int(x) + w)


def picture_view(clean: Material, worst: Material) -> Draw:
    """The frame, its liveliest piece pixel by pixel, and a line of pixels over time (x upright, t to the right)."""
    frames = _frames(clean)
    at = telling_frame(frames, _frames(worst))
    hit = cv2.absdiff(frames[at], _frames(worst)[at]).max(2) > 0  # a fault of one region shows nowhere else
    energy = np.abs(cv2.Laplacian(frames[at], cv2.CV_32F)).sum(2)
    piece = busiest(energy * hit if hit.any() else energy, DETAIL, plots.WIDTH)
    # the window of a row, as high as the lane, in which most moves
    moves = np.zeros(frames.shape[1:3], np.float32)
    for a, b in pairwise(frames):
        moves += cv2.absdiff(a, b).max(2)
    rows, columns = busiest(moves * hit if hit.any() else moves, 1, SLICE)

    def draw(material: Material) -> np.ndarray:
        now = _frames(material)
        line = now[:, rows.start, columns].transpose(1, 0, 2)  # [x, t, 3]
        line = cv2.resize(np.ascontiguousarray(line), (plots.WIDTH, SLICE), interpolation=cv2.INTER_NEAREST)
        return plots.stacked([plots.framed(now[at], PICTURE), plots.framed(now[at][piece], DETAIL), line])

    return draw


def _loudest(sound: np.ndarray, length: int) -> slice:
    """The `length` samples around the largest one."""
    centre = int(np.argmax(np.abs(sound).max(0)))
    first = int(np.clip(centre - length // 2, 0, max(sound.shape[1] - length, 0)))
    return slice(first, first + length)


def sound_view(clean: Material, worst: Material) -> Draw:
    """Spectrogram of the mono sum, waveform per channel, and 10 ms around the loudest sample over the clean ones."""
    sound, rate = _sound(clean), clean.rate
    # a single click must not make a flat line of all the rest
    scale = max(1.5 * float(np.quantile(np.abs(part), 0.998)) for part in (sound, _sound(worst))) or 1.0
    where = _loudest(sound, max(8, round(0.01 * rate)))

    def draw(material: Material) -> np.ndarray:
        now = _sound(material)
        names = ("L", "R") if len(now) == 2 else ("",) * len(now)
        lanes = [plots.spectrogram(now, rate)]
        lanes += [plots.curve(channel, scale, 30, name) for channel, name in zip(now, names, strict=True)]
        lanes.append(plots.clock(now.shape[1] / rate))
        near = 1.05 * max(float(np.abs(part[0, where]).max()) for part in (sound, now)) or 1.0
        lanes.append(plots.curve(now[0, where], near, 48, "10 ms", behind=sound[0, where]))
        return plots.stacked(lanes)

    return draw


def _loudness_over_time(sound: np.ndarray, loudest: float | None = None) -> tuple[np.ndarray, float]:
    """Level per column of the plot, 0..1 for the 40 dB up to `loudest` (linear RMS; None: its own), and that RMS."""
    at = np.linspace(0, sound.shape[1], plots.PLOT + 1).astype(int)
    power = np.square(sound).mean(0)
    level = np.sqrt([power[a : max(b, a + 1)].mean() if a < len(power) else 0.0 for a, b in pairwise(at)])
    loudest = max(float(level.max()), 1e-6) if loudest is None else loudest
    return np.clip(1 + 20 * np.log10(np.maximum(level / loudest, 1e-6)) / 40, 0, 1), loudest


def sync_view(clean: Material, worst: Material) -> Draw:
    """How much moves in the picture, and when the sound is loud: as it should be in grey, as it is in blue."""
    frames = _frames(clean)
    moves = np.array([cv2.norm(a, b, cv2.NORM_L1) for a, b in pairwise(frames)] or [0.0])
    moves /= max(float(moves.max()), 1e-9)
    heard, loudest = _loudness_over_time(_sound(clean))
    strip = np.hstack([plots.framed(frames[i], 46)[:, 119:201] for i in np.linspace(0, len(frames) - 1, 4).astype(int)])
    strip = cv2.resize(strip, (plots.PLOT, 46), interpolation=cv2.INTER_AREA)

    def draw(material: Material) -> np.ndarray:
        seen = plots.blank(46)
        seen[:, plots.MARGIN :] = strip
        now, _ = _loudness_over_time(_sound(material), loudest)
        motion, level = plots.level_curve(moves, 36, "moves"), plots.level_curve(now, 72, "level", behind=heard)
        return plots.stacked([seen, motion, level, plots.clock(len(frames) / clean.fps)])

    return draw


def caption_view(clean: Material, worst: Material) -> Draw:
    """The lower part of a frame with its line, and the times of all lines."""
    frames = _frames(draw_captions(clean))
    at = telling_frame(frames, _frames(draw_captions(worst)))
    h, w = frames.shape[1:3]
    lower = (slice(round(0.76 * h), h), slice(round(0.05 * w), round(0.95 * w)))
    height = min(PICTURE, round(plots.WIDTH * 0.24 * h / (0.9 * w)))
    seconds, now = clean.duration, (at + 0.5) / clean.fps

    def draw(material: Material) -> np.ndarray:
        drawn = _frames(draw_captions(material))
        # a kind that draws its own lines leaves none on the list: they are shown when they should be
        burnt = not material.captions and (drawn != _frames(clean)).any()
        times = plots.bars(clean.captions if burnt else material.captions, clean.captions, seconds, now)
        return plots.stacked([plots.framed(drawn[at][lower], height), times, plots.clock(seconds)])

    return draw


VIEWS: dict[str, Callable[[Material, Material], Draw]] = {
    "video": picture_view,
    "audio": sound_view,
    "sync": sync_view,
    "text": caption_view,
}
