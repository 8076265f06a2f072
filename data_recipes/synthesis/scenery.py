"""Pictures with the statistics of natural ones that nobody has to photograph: dead leaves, 1/f noise, rendered text."""

from __future__ import annotations

import cv2
import numpy as np

MARGIN = 48  # pixels beyond the frame that a pan may use
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;-"))


def scenery(frames: int, height: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A slow pan over a synthetic picture: uint8 [frames, height, 4/3 height, 3], and which sort it is."""
    width = height * 4 // 3 // 2 * 2
    sorts = {"leaves": leaves, "noise": cloud, "text": text}
    name = str(rng.choice(list(sorts)))
    picture = sorts[name](height + 2 * MARGIN, width + 2 * MARGIN, rng)
    step = rng.uniform(-2.5, 2.5, 2) if rng.random() < 0.7 else np.zeros(2)
    out = []
    for k in range(frames):
        move = np.array([[1, 0, -MARGIN + step[0] * k], [0, 1, -MARGIN + step[1] * k]], np.float32)
        out.append(cv2.warpAffine(picture, move, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    return np.stack(out), f"scenery/{name}"


def leaves(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Overlapping discs and quadrilaterals whose sizes follow a power law, each with its own texture."""
    out = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    sizes = np.sort(3 / np.sqrt(rng.uniform((3 / (height / 2)) ** 2, 1, 900)))[::-1]
    for size in sizes:
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        colour = [int(c) for c in np.clip(rng.normal(rng.uniform(30, 225), 28, 3), 0, 255)]
        if rng.random() < 0.6:
            cv2.circle(out, (int(x), int(y)), int(size), colour, -1, cv2.LINE_AA)
        else:
            corners = np.sort(rng.uniform(0, 2 * np.pi, 4))
            points = np.stack([x + size * np.cos(corners), y + size * np.sin(corners)], -1).astype(np.int32)
            cv2.fillPoly(out, [points], colour, cv2.LINE_AA)
    texture = cloud(height, width, rng, 1.0)[..., :1].astype(np.float32) - 128
    soft = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.4, 0.9)))
    return np.clip(soft + texture * rng.uniform(0, 0.25), 0, 255).astype(np.uint8)


def cloud(height: int, width: int, rng: np.random.Generator, slope: float | None = None) -> np.ndarray:
    """Noise whose amplitude falls with frequency as 1 / f ** slope, coloured."""
    slope = float(rng.uniform(0.8, 1.6)) if slope is None else slope
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    f[0, 0] = 1.0
    fields = []
    for _ in range(2):
        phase = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
        field = np.fft.irfft2(phase / f**slope, (height, width))
        fields.append((field - field.mean()) / (field.std() + 1e-9))
    luma = rng.uniform(80, 170) + rng.uniform(25, 60) * fields[0]
    tint = rng.normal(0, 12, 3)
    out = luma[..., None] + fields[1][..., None] * tint + rng.normal(0, 10, 3)
    return np.clip(out, 0, 255).astype(np.uint8)


def text(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of random words in random sizes on a plain, graded or noisy ground, as screens and slides show them."""
    ground = np.linspace(rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), width)[None].repeat(height, 0)
    if rng.random() < 0.4:
        ground = cloud(height, width, rng).astype(np.float64)
    out = np.ascontiguousarray(ground.clip(0, 255).astype(np.uint8))
    y = 0.0
    while y < height:
        scale = float(rng.uniform(0.35, 1.6))
        y += 34 * scale
        words = ["".join(rng.choice(LETTERS, int(rng.integers(2, 10)))) for _ in range(14)]
        dark = out.mean() > 128
        colour = [int(c) for c in np.clip(rng.normal(25 if dark else 230, 30, 3), 0, 255)]
        where = (int(rng.uniform(-40, 60)), int(y))
        cv2.putText(
            out, " ".join(words), where, FONTS[int(rng.integers(4))], scale, colour, 1 + (scale > 1), cv2.LINE_AA
        )
    return out
