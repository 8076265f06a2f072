"""Loss of detail and noise: scaling, blur, sensor and impulse noise, quantisation, over-sharpening.

Pixel sizes are for 540 lines and scale with the height of the frames.
Levels after KADID-10k, re-spaced by measured VMAF and MS-SSIM on 540p clips.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from data_recipes.distortions.base import Rng, picture
from data_recipes.distortions.references import CAMBI, KADID, LIVE_NFLX, MSSSIM_540, VMAF_540

REFERENCE_HEIGHT = 540
SPACED = f"{KADID}; {MSSSIM_540}"


def scale_of(frames: np.ndarray) -> float:
    """Factor from pixels at 540 lines to pixels of these frames [n, h, w, 3]."""
    return frames.shape[1] / REFERENCE_HEIGHT


def per_frame(frames: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`change` applied to each frame [h, w, 3] uint8; a new array of the same shape."""
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        out[i] = change(frame)
    return out


def rescaled(frames: np.ndarray, factor: float, interpolation: int) -> np.ndarray:
    """Frames shrunk by `factor` (area means) and brought back to their size."""
    h, w = frames.shape[1:3]
    small = (max(1, round(w / factor)), max(1, round(h / factor)))
    shrunk = (cv2.resize(f, small, interpolation=cv2.INTER_AREA) for f in frames)
    return np.stack([cv2.resize(f, (w, h), interpolation=interpolation) for f in shrunk])


@picture(
    "downscale", (1.5, 2.0, 3.0, 4.0, 6.0), "factor", f"resolution ladder of {LIVE_NFLX}; {VMAF_540}", alike="soft"
)
def downscale(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    return rescaled(frames, value, cv2.INTER_CUBIC)


def coarse(frame: np.ndarray, factor: float, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`change` at 1/factor of the size: a wide blur leaves no detail that this could lose, and costs factor**2 less."""
    if factor <= 1:
        return change(frame)
    h, w = frame.shape[:2]
    small = (max(1, round(w / factor)), max(1, round(h / factor)))
    blurred = change(cv2.resize(frame, small, interpolation=cv2.INTER_AREA))
    out: np.ndarray = cv2.resize(blurred, (w, h), interpolation=cv2.INTER_LINEAR)
    return out


@picture("gblur", (0.8, 1.5, 2.5, 4.0, 6.5), "sigma_px_540", SPACED, alike="soft")
def gaussian_blur(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    sigma = max(value * scale_of(frames), 0.3)  # below 0.3 px an 8-bit kernel changes nothing
    factor = 2.0 if sigma > 3 else 1.0
    return per_frame(frames, lambda f: coarse(f, factor, lambda g: cv2.GaussianBlur(g, (0, 0), sigma / factor)))


def disc(radius: float) -> np.ndarray:
    """Normalised, anti-aliased disc [k, k] float32: the point spread of a lens out of focus."""
    half = int(np.ceil(radius))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return kernel / kernel.sum()


@picture("defocus", (1.5, 3.0, 5.0, 8.0, 12.0), "radius_px_540", SPACED, alike="soft")
def defocus(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    radius = max(value * scale_of(frames), 0.6)
    factor = max(1.0, radius / 3)
    kernel = disc(radius / factor)

    def blur(frame: np.ndarray) -> np.ndarray:
        out: np.ndarray = cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        return out

    return per_frame(frames, lambda f: coarse(f, factor, blur))


def line(length: float, angle: float) -> np.ndarray:
    """Normalised, anti-aliased line through the middle of a [k, k] float32 kernel; angle in radians."""
    half = int(np.ceil(length / 2))
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


def smear(frame: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Mean of the frame over a line of `length` px at `angle` radians, in log2(length) shifts and halvings.

    Averaging a picture with itself shifted by d, then by 2d, 4d ... gives 2, 4, 8 ... points on a line.
    """
    doublings = max(1, round(np.log2(max(length, 2.0))))
    step = (length - 1) / (2**doublings - 1)  # px between neighbouring points
    shifts = [(round(step * 2**k * np.sin(angle)), round(step * 2**k * np.cos(angle))) for k in range(doublings)]
    pad = int(np.ceil(length)) + doublings
    cur = cv2.copyMakeBorder(frame, pad, pad, pad, pad, cv2.BORDER_REFLECT)
    for dy, dx in shifts:
        y, x = abs(dy), abs(dx)
        h, w = cur.shape[0] - y, cur.shape[1] - x
        near = cur[(y if dy < 0 else 0) :, (x if dx < 0 else 0) :][:h, :w]
        far = cur[(y if dy > 0 else 0) :, (x if dx > 0 else 0) :][:h, :w]
        cur = cv2.addWeighted(near, 0.5, far, 0.5, 0)
    top, left = (cur.shape[0] - frame.shape[0]) // 2, (cur.shape[1] - frame.shape[1]) // 2
    return cur[top : top + frame.shape[0], left : left + frame.shape[1]]


@picture("motion_blur", (5.0, 9.0, 15.0, 23.0, 35.0), "length_px_540", SPACED, alike="soft")
def motion_blur(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    length, angle = max(value * scale_of(frames), 2.0), rng.uniform(0, np.pi)
    if length > 9:
        return per_frame(frames, lambda f: smear(f, length, angle))
    kernel = line(length, angle)  # a short line needs its parts of pixels, and a small kernel is fast
    return per_frame(frames, lambda f: cv2.filter2D(f, -1, kernel, borderType=cv2.BORDER_REFLECT_101))


class NoisePool:
    """Unit Gaussian noise that differs per frame at a tenth of the cost of drawing it: random crops of one field.

    The field is a quarter larger than a frame on both axes, and each crop is mirrored at random, so that neighbouring
    frames share no pixel position.
    """

    def __init__(self, shape: tuple[int, ...], rng: Rng) -> None:
        self.height, self.width = shape[:2]
        big = (self.height + self.height // 4 + 8, self.width + self.width // 4 + 8, *shape[2:])
        self.field = rng.standard_normal(big, dtype=np.float32)
        self.rng = rng

    def crop(self) -> np.ndarray:
        """The next noise frame, shape as asked for, unit variance."""
        y = self.rng.integers(0, self.field.shape[0] - self.height + 1)
        x = self.rng.integers(0, self.field.shape[1] - self.width + 1)
        part = self.field[y : y + self.height, x : x + self.width]
        flip = self.rng.integers(0, 4)
        part = part[::-1] if flip & 1 else part
        return part[:, ::-1] if flip & 2 else part


def add_noise(frame: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """uint8 frame plus int16 noise, clipped (cv2 saturates, numpy would wrap)."""
    out: np.ndarray = cv2.add(frame, noise, dtype=cv2.CV_8U)
    return out


@picture("gnoise", (3.0, 6.0, 11.0, 19.0, 32.0), "sigma_of_255", SPACED, alike="grain")
def gaussian_noise(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    pool = NoisePool(frames.shape[1:3], rng)
    pool.field = np.rint(pool.field * value).astype(np.int16)

    def noisy(frame: np.ndarray) -> np.ndarray:
        luma = np.ascontiguousarray(pool.crop())
        return add_noise(frame, cv2.merge([luma, luma, luma]))  # the same in R, G and B: luma only

    return per_frame(frames, noisy)


@picture(
    "chroma_noise",
    (6.0, 12.0, 20.0, 32.0, 48.0),
    "sigma_of_255",
    f"{SPACED} (noise in colour components)",
    alike="grain",
)
def chroma_noise(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    pool = NoisePool(frames.shape[1:4], rng)
    soft = cv2.GaussianBlur(pool.field, (0, 0), 0.8)  # demosaicing and chroma subsampling smooth colour noise
    pool.field = np.rint(soft * value).astype(np.int16)
    return per_frame(frames, lambda f: add_noise(f, np.ascontiguousarray(pool.crop())))


@picture("impulse", (0.001, 0.004, 0.012, 0.03, 0.07), "share", SPACED, alike="grain")
def impulse(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    out = frames.copy()
    pixels = out.reshape(len(out), -1, 3)
    hits = max(1, round(value * pixels.shape[1]))
    for frame in pixels:
        where = rng.integers(0, pixels.shape[1], hits)
        frame[where] = (rng.integers(0, 2, hits, dtype=np.uint8) * np.uint8(255))[:, None]
    return out


@picture("speckle", (0.04, 0.08, 0.15, 0.25, 0.4), "sigma", f"{SPACED} (multiplicative noise)", alike="grain")
def speckle(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    pool = NoisePool(frames.shape[1:3], rng)
    pool.field = np.clip(np.rint((1 + pool.field * value) * 64), 0, 255).astype(np.uint8)  # gain in 1/64

    def speckled(frame: np.ndarray) -> np.ndarray:
        gain = np.ascontiguousarray(pool.crop())
        out: np.ndarray = cv2.multiply(frame, cv2.merge([gain, gain, gain]), scale=1 / 64)
        return out

    return per_frame(frames, speckled)


@picture(
    "banding", (48, 32, 20, 13, 8), "grey_levels", f"{CAMBI}; {SPACED} (quantisation)", ladder=(4.6, 4.1, 3.4, 2.6, 2.0)
)
def banding(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    step = 255 / (value - 1)
    table = np.rint(np.rint(np.arange(256) / step) * step).astype(np.uint8)
    return per_frame(frames, lambda f: cv2.LUT(f, table))


@picture("mosaic", (2.0, 3.0, 5.0, 8.0, 12.0), "cell_px_540", f"{SPACED} (pixelate)", alike="blocks")
def mosaic(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    return rescaled(frames, max(value * scale_of(frames), 1.15), cv2.INTER_NEAREST)


@picture(
    "oversharp", (1.0, 2.0, 3.5, 6.0, 10.0), "amount", f"{SPACED} (unsharp mask, radius 1.2 px at 540p)", alike="glare"
)
def oversharp(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    sigma = max(1.2 * scale_of(frames), 0.4)
    return per_frame(frames, lambda f: cv2.addWeighted(f, 1 + value, cv2.GaussianBlur(f, (0, 0), sigma), -value, 0))
