"""Captions as pictures: cutting a text into lines, and drawing lines into frames."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from data_recipes.distortions.base import Caption, Material

LINE_CHARACTERS = 42  # subtitle guidelines of EBU and broadcasters: 37 to 42 characters a line
READING_SPEED = 15.0  # characters per second that everybody can follow
LEGIBLE_HEIGHT = 5.5  # per cent of the frame height


def captions_of(text: str, duration: float, speed: float = READING_SPEED) -> list[Caption]:
    """Cut a text into lines of at most 42 characters, spread over `duration` seconds by their length.

    The text is cut short where it would need more than `speed` characters per second.
    """
    lines: list[str] = []
    room = speed * duration
    for word in text.split():
        if len(word) + 1 > room:
            break
        room -= len(word) + 1
        if lines and len(lines[-1]) + 1 + len(word) <= LINE_CHARACTERS:
            lines[-1] += " " + word
        else:
            lines.append(word)
    ends = np.cumsum([len(line) + 1 for line in lines])
    times = np.concatenate([[0], ends / ends[-1]]) * duration if lines else np.zeros(1)
    return [Caption(float(a), float(b), line) for a, b, line in zip(times[:-1], times[1:], lines, strict=True)]


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance 0..1 (WCAG 2.1) of sRGB colours [..., 3] in 0..255."""
    c = np.asarray(rgb, np.float64) / 255
    light = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.asarray(light @ np.array([0.2126, 0.7152, 0.0722]))


def contrasting(background: np.ndarray, ratio: float) -> tuple[int, int, int]:
    """A tint of `background` (RGB 0..255) whose WCAG contrast ratio to it is `ratio`, or the nearest there is.

    Lighter where there is room for that, else darker, else white or black, whichever stands out more.
    """
    base = float(luminance(background))
    lighter = (base + 0.05) * ratio - 0.05
    darker = (base + 0.05) / ratio - 0.05
    if lighter <= 1:
        light = lighter
    elif darker >= 0:
        light = darker
    else:
        light = 1.0 if 1.05 / (base + 0.05) > (base + 0.05) / 0.05 else 0.0
    grey = light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
    level = int(np.clip(round(grey * 255), 0, 255))
    return level, level, level


@lru_cache(maxsize=256)
def _mask(text: str, size: int, width: int, outline: int) -> tuple[np.ndarray, np.ndarray]:
    """Coverage 0..255 [h, w] of the letters and of the letters with outline, wrapped to `width` pixels."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    step = round(size * 1.2)
    box = (width, step * len(lines) + 2 * outline)
    masks = []
    for stroke in (0, outline):
        image = Image.new("L", box, 0)
        draw = ImageDraw.Draw(image)
        for i, line in enumerate(lines):
            x = (width - font.getlength(line)) / 2
            draw.text((x, outline + i * step), line, fill=255, font=font, stroke_width=stroke)
        masks.append(np.asarray(image))
    return masks[0], masks[1]


def _shown(caption: Caption, n: int, fps: float) -> range:
    return range(min(max(round(caption.start * fps), 0), n), min(max(round(caption.end * fps), 0), n))


def burn_in(
    frames: np.ndarray,
    captions: list[Caption],
    fps: float,
    *,
    height: float = LEGIBLE_HEIGHT,
    contrast: float | None = None,
    blur: float = 0.0,
) -> np.ndarray:
    """Frames [n, h, w, 3] with captions drawn at the bottom; a new array.

    height: of the letters' line, per cent of the frame height. contrast: None draws white letters with a black
    outline (legible on everything); a number draws outline-free grey letters of that WCAG contrast ratio to the
    picture behind them. blur: sigma as a share of the letters' size.
    """
    out = frames.copy()
    n, h, w = frames.shape[:3]
    size = max(4, round(h * height / 100))
    for caption in captions:
        shown = _shown(caption, n, fps)
        if not len(shown) or not caption.text.strip():
            continue
        letters, outlined = _mask(caption.text, size, round(w * 0.9), max(1, size // 12) if contrast is None else 0)
        letters, outlined = letters[: h - 1], outlined[: h - 1]
        if blur:
            sigma = max(blur * size, 0.3)
            letters, outlined = (cv2.GaussianBlur(m, (0, 0), sigma) for m in (letters, outlined))
        top, left = max(0, h - len(letters) - round(h * 0.05)), (w - letters.shape[1]) // 2
        region = (slice(top, top + len(letters)), slice(left, left + letters.shape[1]))
        colour = (255, 255, 255)
        if contrast is not None:
            behind = frames[shown[len(shown) // 2]][region].reshape(-1, 3).mean(0)
            colour = contrasting(behind, contrast)
        ink = letters.astype(np.uint16)[..., None]
        edge = outlined.astype(np.uint16)[..., None]
        for i in shown:
            patch = out[i][region].astype(np.uint16)
            if contrast is None:
                patch = patch * (255 - edge) // 255
            out[i][region] = ((patch * (255 - ink) + np.array(colour, np.uint16) * ink + 127) // 255).astype(np.uint8)
    return out


def draw_captions(material: Material, **style: float) -> Material:
    """Material with all its captions burnt in (see `burn_in`) and none left on the list."""
    if material.frames is None or not material.captions:
        return material
    return replace(material, frames=burn_in(material.frames, material.captions, material.fps, **style), captions=[])
