"""Lanes of a preview cell: pictures, spectrograms, waveforms, time lines. All are RGB uint8 [h, WIDTH, 3]."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from data_recipes.distortions import Caption

WIDTH = 320  # px of a cell
MARGIN = 34  # px left of a plot, for its axis
PLOT = WIDTH - MARGIN
FLOOR_DB, CEILING_DB = -100.0, -10.0  # relative to a full-scale sine
HERTZ = (100, 300, 1000, 3000, 10000)  # marks of the frequency axis
LOWEST, HIGHEST = 50.0, 20000.0
WHITE, BLACK, GREY, PALE = (255, 255, 255), (30, 30, 30), (150, 150, 150), (232, 232, 232)
BLUE, RED = (25, 95, 190), (200, 50, 40)


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
