"""What shows a fault of each family: a view is made of the clean clip and the worst level, then draws every level.

A cell is a stack of lanes: pictures, spectrograms, waveforms, time lines. All are RGB uint8 [h, WIDTH, 3].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from data_recipes.distortions import Caption, Material, draw_captions

WIDTH = 320  # px of a cell
MARGIN = 34  # px left of a plot, for its axis
PLOT = WIDTH - MARGIN
FLOOR_DB, CEILING_DB = -100.0, -10.0  # relative to a full-scale sine
HERTZ = (100, 300, 1000, 3000, 10000)  # marks of the frequency axis
LOWEST, HIGHEST = 50.0, 20000.0
WHITE, BLACK, GREY, PALE = (255, 255, 255), (30, 30, 30), (150, 150, 150), (232, 232, 232)
BLUE, RED = (25, 95, 190), (200, 50, 40)
Painter = Callable[[Material], np.ndarray]  # a material to a cell [h, WIDTH, 3]
PICTURE, DETAIL, SLICE = 180, 72, 72  # px of height


def blank(height: int) -> np.ndarray:
    return np.full((height, WIDTH, 3), 255, np.uint8)


def stacked(lanes: list[np.ndarray]) -> np.ndarray:
    """Lanes one above the other, 4 px apart."""
    gap = blank(4)
    return np.vstack([part for lane in lanes for part in (gap, lane)][1:])


@lru_cache(maxsize=512)
def _letters(text: str) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(10)
    image = Image.new("L", (max(1, round(font.getlength(text))), 12), 0)
    ImageDraw.Draw(image).text((0, 6), text, fill=255, font=font, anchor="lm")
    return np.asarray(image)


def write(lane: np.ndarray, text: str, x: int, y: int, *, right: bool = False) -> None:
    """Put small letters into a lane: left (or right) end at x, middle at y; kept inside."""
    ink = _letters(text)
    h, w = min(ink.shape[0], lane.shape[0]), min(ink.shape[1], lane.shape[1])
    left = int(np.clip(x - w if right else x, 0, lane.shape[1] - w))
    top = int(np.clip(y - h // 2, 0, lane.shape[0] - h))
    weight = ink[:h, :w, None].astype(np.float32) / 255
    box = lane[top : top + h, left : left + w]
    box[:] = np.rint(box * (1 - weight) + np.array(BLACK) * weight)


def framed(picture: np.ndarray, height: int) -> np.ndarray:
    """A frame [h, w, 3] scaled into [height, WIDTH], with pale bars where the shapes differ."""
    factor = min(WIDTH / picture.shape[1], height / picture.shape[0])
    w, h = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    out = np.full((height, WIDTH, 3), 232, np.uint8)
    top, left = (height - h) // 2, (WIDTH - w) // 2
    out[top : top + h, left : left + w] = cv2.resize(picture, (w, h), interpolation=how)
    return out


def spectrogram(sound: np.ndarray, rate: int, height: int = 110) -> np.ndarray:
    """Level in dB over time and log frequency, of the mean of the channels: what a mono loudspeaker plays."""
    size = 1 << max(6, round(np.log2(0.022 * rate)))
    mono = np.pad(sound.mean(0), size // 2)
    starts = np.linspace(0, len(mono) - size, PLOT).astype(int)
    window = np.hanning(size).astype(np.float32)
    pieces = np.stack([mono[s : s + size] for s in starts]) * window
    power = np.square(np.abs(np.fft.rfft(pieces, axis=1)) / (window.sum() / 2))  # [time, bin]
    edges = LOWEST * (HIGHEST / LOWEST) ** (np.arange(height + 1) / height) * size / rate  # in bins
    rows = np.full((height, PLOT), 10 ** (FLOOR_DB / 10))
    for i, (low, high) in enumerate(pairwise(edges)):
        if low < power.shape[1] - 1:
            rows[i] = power[:, int(low) : max(int(np.ceil(high)), int(low) + 1)].max(1)
    level = 10 * np.log10(np.maximum(rows, 10 ** (FLOOR_DB / 10)))
    grey = np.clip((level - FLOOR_DB) / (CEILING_DB - FLOOR_DB) * 255, 0, 255).astype(np.uint8)[::-1]
    out = blank(height)
    out[:, MARGIN:] = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
    for hertz in HERTZ:
        y = round(height * (1 - np.log(hertz / LOWEST) / np.log(HIGHEST / LOWEST)))
        write(out, f"{hertz // 1000}k" if hertz >= 1000 else str(hertz), MARGIN - 3, y, right=True)
    return out


def _columns(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value per column of the plot; a signal of fewer samples is drawn as a line."""
    at = np.linspace(0, len(signal), PLOT + 1).astype(int)
    pieces = [signal[a : max(b, a + 1)] if a < len(signal) else signal[-1:] for a, b in pairwise(at)]
    low, high = np.array([p.min() for p in pieces]), np.array([p.max() for p in pieces])
    # neighbouring columns touch, so that a line has no gaps
    joined_low, joined_high = low.copy(), high.copy()
    joined_low[1:] = np.minimum(low[1:], high[:-1])
    joined_high[1:] = np.maximum(high[1:], low[:-1])
    return joined_low, joined_high


def curve(signal: np.ndarray, scale: float, height: int, name: str, behind: np.ndarray | None = None) -> np.ndarray:
    """A waveform within +-scale; `behind` is drawn in grey under it (the clean signal)."""
    out = blank(height)
    out[:, MARGIN:] = PALE
    rows = np.arange(height)[:, None]
    for part, colour in ((behind, GREY), (signal, BLUE)):
        if part is not None and len(part):
            low, high = _columns(part)
            top = (1 - np.clip(high / scale, -1, 1)) / 2 * (height - 1)
            bottom = (1 - np.clip(low / scale, -1, 1)) / 2 * (height - 1)
            out[:, MARGIN:][(rows >= np.floor(top)) & (rows <= np.ceil(bottom))] = colour
    write(out, name, MARGIN - 3, height // 2, right=True)
    return out


def level_curve(values: np.ndarray, height: int, name: str, behind: np.ndarray | None = None) -> np.ndarray:
    """Values 0..1 over time as an area from below; `behind` in grey under it, `values` as a blue line on top."""
    out = blank(height)
    out[:, MARGIN:] = PALE
    rows = np.arange(height)[::-1, None] / max(height - 1, 1)
    base = values if behind is None else behind
    out[:, MARGIN:][rows <= np.interp(np.linspace(0, 1, PLOT), np.linspace(0, 1, len(base)), base)[None]] = GREY
    if behind is not None:
        y = np.interp(np.linspace(0, 1, PLOT), np.linspace(0, 1, len(values)), values)
        points = np.stack([MARGIN + np.arange(PLOT), (1 - np.clip(y, 0, 1)) * (height - 1)], 1)
        cv2.polylines(out, [np.rint(points).astype(np.int32)], False, BLUE, 1, cv2.LINE_AA)
    write(out, name, MARGIN - 3, height // 2, right=True)
    return out


def clock(seconds: float) -> np.ndarray:
    """The time axis below the plots of a cell."""
    out = blank(12)
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 600, 6000) if seconds / s <= 6)
    for mark in np.arange(0, seconds + 1e-9, step):
        x = MARGIN + round(mark / seconds * (PLOT - 1))
        out[:3, min(x, WIDTH - 1)] = BLACK
        write(out, f"{mark:g} s" if mark == 0 else f"{mark:g}", x + 2, 7)
    return out


def bars(captions: list[Caption], clean: list[Caption], seconds: float, now: float) -> np.ndarray:
    """When lines are shown: grey as they should be, blue as they are; the red mark is the time of the picture."""
    out = blank(26)
    out[:, MARGIN:] = PALE
    for lines, top, colour in ((clean, 2, GREY), (captions, 14, BLUE)):
        for c in lines:
            first, last = (MARGIN + round(t / seconds * PLOT) for t in (c.start, c.end))
            out[top : top + 10, first : max(last - 1, first + 1)] = colour
    x = min(MARGIN + round(now / seconds * PLOT), WIDTH - 2)
    out[:, x : x + 2] = RED
    return out


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


def picture_view(clean: Material, worst: Material) -> Painter:
    """The frame, its liveliest piece pixel by pixel, and a line of pixels over time (x upright, t to the right)."""
    frames = _frames(clean)
    at = telling_frame(frames, _frames(worst))
    hit = cv2.absdiff(frames[at], _frames(worst)[at]).max(2) > 0  # a fault of one region shows nowhere else
    energy = np.abs(cv2.Laplacian(frames[at], cv2.CV_32F)).sum(2)
    piece = busiest(energy * hit if hit.any() else energy, DETAIL, WIDTH)
    # the window of a row, as high as the lane, in which most moves
    moves = np.zeros(frames.shape[1:3], np.float32)
    for a, b in pairwise(frames):
        moves += cv2.absdiff(a, b).max(2)
    rows, columns = busiest(moves * hit if hit.any() else moves, 1, SLICE)

    def draw(material: Material) -> np.ndarray:
        now = _frames(material)
        line = now[:, rows.start, columns].transpose(1, 0, 2)  # [x, t, 3]
        line = cv2.resize(np.ascontiguousarray(line), (WIDTH, SLICE), interpolation=cv2.INTER_NEAREST)
        return stacked([framed(now[at], PICTURE), framed(now[at][piece], DETAIL), line])

    return draw


def _loudest(sound: np.ndarray, length: int) -> slice:
    """The `length` samples around the largest one."""
    centre = int(np.argmax(np.abs(sound).max(0)))
    first = int(np.clip(centre - length // 2, 0, max(sound.shape[1] - length, 0)))
    return slice(first, first + length)


def sound_view(clean: Material, worst: Material) -> Painter:
    """Spectrogram of the mono sum, waveform per channel, and 10 ms around the loudest sample over the clean ones."""
    sound, rate = _sound(clean), clean.rate
    # a single click must not make a flat line of all the rest
    scale = max(1.5 * float(np.quantile(np.abs(part), 0.998)) for part in (sound, _sound(worst))) or 1.0
    where = _loudest(sound, max(8, round(0.01 * rate)))

    def draw(material: Material) -> np.ndarray:
        now = _sound(material)
        names = ("L", "R") if len(now) == 2 else ("",) * len(now)
        lanes = [spectrogram(now, rate)]
        lanes += [curve(channel, scale, 30, name) for channel, name in zip(now, names, strict=True)]
        lanes.append(clock(now.shape[1] / rate))
        near = 1.05 * max(float(np.abs(part[0, where]).max()) for part in (sound, now)) or 1.0
        lanes.append(curve(now[0, where], near, 48, "10 ms", behind=sound[0, where]))
        return stacked(lanes)

    return draw


def _loudness_over_time(sound: np.ndarray, loudest: float | None = None) -> tuple[np.ndarray, float]:
    """Level per column of the plot, 0..1 for the 40 dB up to `loudest` (linear RMS; None: its own), and that RMS."""
    at = np.linspace(0, sound.shape[1], PLOT + 1).astype(int)
    power = np.square(sound).mean(0)
    level = np.sqrt([power[a : max(b, a + 1)].mean() if a < len(power) else 0.0 for a, b in pairwise(at)])
    loudest = max(float(level.max()), 1e-6) if loudest is None else loudest
    return np.clip(1 + 20 * np.log10(np.maximum(level / loudest, 1e-6)) / 40, 0, 1), loudest


def sync_view(clean: Material, worst: Material) -> Painter:
    """How much moves in the picture, and when the sound is loud: as it should be in grey, as it is in blue."""
    frames = _frames(clean)
    moves = np.array([cv2.norm(a, b, cv2.NORM_L1) for a, b in pairwise(frames)] or [0.0])
    moves /= max(float(moves.max()), 1e-9)
    heard, loudest = _loudness_over_time(_sound(clean))
    strip = np.hstack([framed(frames[i], 46)[:, 119:201] for i in np.linspace(0, len(frames) - 1, 4).astype(int)])
    strip = cv2.resize(strip, (PLOT, 46), interpolation=cv2.INTER_AREA)

    def draw(material: Material) -> np.ndarray:
        seen = blank(46)
        seen[:, MARGIN:] = strip
        now, _ = _loudness_over_time(_sound(material), loudest)
        motion, level = level_curve(moves, 36, "moves"), level_curve(now, 72, "level", behind=heard)
        return stacked([seen, motion, level, clock(len(frames) / clean.fps)])

    return draw


def caption_view(clean: Material, worst: Material) -> Painter:
    """The lower part of a frame with its line, and the times of all lines."""
    frames = _frames(draw_captions(clean))
    at = telling_frame(frames, _frames(draw_captions(worst)))
    h, w = frames.shape[1:3]
    lower = (slice(round(0.76 * h), h), slice(round(0.05 * w), round(0.95 * w)))
    height = min(PICTURE, round(WIDTH * 0.24 * h / (0.9 * w)))
    seconds, now = clean.duration, (at + 0.5) / clean.fps

    def draw(material: Material) -> np.ndarray:
        drawn = _frames(draw_captions(material))
        # a kind that draws its own lines leaves none on the list: they are shown when they should be
        burnt = not material.captions and (drawn != _frames(clean)).any()
        times = bars(clean.captions if burnt else material.captions, clean.captions, seconds, now)
        return stacked([framed(drawn[at][lower], height), times, clock(seconds)])

    return draw


VIEWS: dict[str, Callable[[Material, Material], Painter]] = {
    "video": picture_view,
    "audio": sound_view,
    "sync": sync_view,
    "text": caption_view,
}
