"""A clean synthetic clip (smooth textures in motion, speech-like sound) and faults to put into it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mllm_avqa.evidence import Measurement, measure
from mllm_avqa.schema.clip import AudioInfo, AudioTrack, Clip, MediaInfo, VideoInfo, VideoTrack

HEIGHT, WIDTH, FPS, SECONDS, RATE = 288, 512, 25, 4.0, 48000


def make_scene(rng: np.random.Generator) -> np.ndarray:
    """A wide coloured picture with the spectrum of natural scenes and a few hard edges, uint8 [h, w, 3]."""
    h, w = HEIGHT + 60, WIDTH + 160
    fy, fx = np.meshgrid(np.fft.fftfreq(h), np.fft.rfftfreq(w), indexing="ij")
    amplitude = np.maximum(np.hypot(fx, fy), 2 / w) ** -1.5
    planes = []
    for _ in range(3):
        spectrum = amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))
        plane = np.fft.irfft2(spectrum, s=(h, w))
        planes.append(plane / plane.std())
    shared = planes[0]
    scene = np.stack([118 + 38 * shared + 18 * p for p in planes], axis=-1)
    for _ in range(30):  # occluding objects
        centre = (int(rng.integers(0, w)), int(rng.integers(0, h)))
        colour = rng.integers(15, 241, 3).tolist()
        mask = np.zeros((h, w), np.uint8)
        box = (centre, (int(rng.integers(20, 90)), int(rng.integers(20, 90))), float(rng.uniform(0, 180)))
        cv2.ellipse(mask, box, 255, -1)
        scene[mask > 0] = 0.75 * np.array(colour) + 0.25 * scene[mask > 0]
    return np.clip(cv2.GaussianBlur(scene, (0, 0), 0.6), 0, 255).astype(np.uint8)


def make_frames(rng: np.random.Generator, count: int = int(FPS * SECONDS)) -> np.ndarray:
    """A slow pan over the scene, uint8 [count, h, w, 3]."""
    scene = make_scene(rng)
    x = np.linspace(4, 150, count)
    y = 20 + 15 * np.sin(np.linspace(0, 2, count))
    shift = [np.array([[1, 0, -a], [0, 1, -b]], np.float32) for a, b in zip(x, y, strict=True)]
    return np.stack([cv2.warpAffine(scene, m, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC) for m in shift])


def make_sound(rng: np.random.Generator, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Speech-like stereo: bursts of harmonics with consonant noise up to 15 kHz and pauses on a low floor."""
    n = int(seconds * rate)
    t = np.arange(n) / rate
    out = np.zeros(n)
    at = 0.1
    while at < seconds - 0.35:
        length = rng.uniform(0.12, 0.3)
        inside = (t >= at) & (t < at + length)
        s = t[inside] - at
        envelope = np.sin(np.pi * s / length) ** 0.7 * np.minimum(1, (length - s) / 0.05)
        pitch = rng.uniform(110, 190) * (1 + 0.08 * s / length)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        voiced = sum(np.sin(k * phase + rng.uniform(0, 6)) / k**1.1 for k in range(1, 40))
        hiss = np.diff(rng.normal(size=s.size + 1)) * (rng.random() < 0.5)
        out[inside] += envelope * (0.06 * voiced + 0.02 * hiss)
        at += length + rng.uniform(0.04, 0.12)
    out += 2e-5 * rng.normal(size=n)
    return np.stack([out, 0.9 * np.roll(out, 3)]).astype(np.float32)


def make_clip(
    frames: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    rate: int = RATE,
    fps: float = FPS,
    start: float = 0.0,
) -> Clip:
    """A `Clip` as the media room would make it from these frames and samples."""
    video = video_info = audio = audio_info = None
    if frames is not None:
        n, h, w = frames.shape[:3]
        pts = start + np.arange(n) / fps
        scale = 160 / max(h, w)
        size = (max(1, round(w * scale)), max(1, round(h * scale)))
        lumas = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in frames]
        thumbs = np.stack([cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in lumas])
        index = sorted({min(n - 1, (2 * k + 1) * n // 8 + j) for k in range(4) for j in (0, 1)})
        video = VideoTrack(frames=frames[index], pts=pts[index], thumbs=thumbs, thumb_pts=pts)
        video_info = VideoInfo(
            codec="h264", width=w, height=h, fps=fps, pixel_format="yuv420p", bitrate=2_000_000, duration=n / fps
        )
    if samples is not None:
        audio = AudioTrack(samples=samples.astype(np.float32), rate=rate, start=start)
        duration = samples.shape[1] / rate
        audio_info = AudioInfo(codec="aac", sample_rate=rate, channels=samples.shape[0], duration=duration)
    info = MediaInfo(
        path="synthetic", container="mp4", size_bytes=1, duration=SECONDS, video=video_info, audio=audio_info
    )
    absent = {k: f"the file has no {k} stream" for k, v in (("video", video), ("audio", audio)) if v is None}
    return Clip(info=info, start=start, end=start + SECONDS, video=video, audio=audio, absent=absent)


@pytest.fixture(scope="session")
def frames() -> np.ndarray:
    return make_frames(np.random.default_rng(7))


@pytest.fixture(scope="session")
def stills(frames: np.ndarray) -> np.ndarray:
    """A few frames for facts of single pictures."""
    return frames[::30]


@pytest.fixture(scope="session")
def sound() -> np.ndarray:
    return make_sound(np.random.default_rng(11))


@pytest.fixture(scope="session")
def facts() -> Callable[..., dict[str, Measurement]]:
    """Measures of frames and samples by name."""
    return lambda *args, **kwargs: {m.name: m for m in measure(make_clip(*args, **kwargs))}
