"""Extremes of picture and sound, synthetic, through evidence and views: nothing raises, and no fact is not a number.

`python -m tests.abuse extremes --cases 2000 --seed 1`. Every tenth case is written as a file and read back through the
guarded reader; the others are clips as the reader would make them.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from mllm_avqa.evidence import measure
from mllm_avqa.media import MediaReader
from mllm_avqa.model.views import make_views
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.clip import AudioInfo, AudioTrack, Clip, MediaInfo, VideoInfo, VideoTrack
from mllm_avqa.schema.errors import AvqaError

SIDES = (1, 2, 3, 7, 8, 13, 16, 31, 32, 33, 64, 97, 160, 333, 640)
PICTURES = ("black", "white", "grey", "noise", "checker", "stripes", "ramp", "one pixel", "red", "flicker", "inverse")
SOUNDS = (
    "zeros",
    "ones",
    "square",
    "impulse",
    "noise",
    "tiny",
    "huge",
    "steps",
    "antiphase",
    "one side",
    "nyquist",
    "dc",
)
RATES = (2000, 4000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192_000, 768_000)
LENGTHS = (0, 1, 2, 3, 17, 100, 1000, 0.02, 0.05, 0.1, 0.3, 0.41, 1.0, 2.0)  # samples, or seconds if not whole
FACTORS = {"tiny": 1e-42, "huge": 16.0}
SPEC = ViewSpec()


@dataclass
class Result:
    cases: int = 0
    measured: int = 0
    typed: Counter[str] = field(default_factory=Counter)
    untyped: list[str] = field(default_factory=list)
    longest: float = 0.0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not self.untyped

    def table(self) -> dict[str, object]:
        return {
            "cases": self.cases,
            "measured": self.measured,
            "typed errors": dict(self.typed),
            "untyped": len(self.untyped),
            "which": self.untyped[:20],
            "longest s": round(self.longest, 2),
            "seconds": round(self.seconds),
        }


def picture(kind: str, width: int, height: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    luma = {
        "white": np.full((height, width), 255),
        "grey": np.full((height, width), 128),
        "checker": (x + y + number) % 2 * 255,
        "stripes": (x // 2 + number) % 2 * 255,
        "ramp": x * 255 // max(1, width - 1),
        "one pixel": (x == number % width) * (y == 0) * 255,
        "flicker": np.full((height, width), 255 * (number % 2)),
    }.get(kind, np.zeros((height, width)))
    image = np.repeat(luma[..., None], 3, axis=2).astype(np.uint8)
    if kind == "noise":
        image = rng.integers(0, 256, image.shape).astype(np.uint8)
    elif kind == "red":
        image[..., 0] = 255
    elif kind == "inverse":
        image = rng.integers(0, 2, image.shape).astype(np.uint8) * 255
    return image


def sound(kind: str, count: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [channels, count]."""
    n = np.arange(count)
    wave = {
        "ones": np.ones(count),
        "square": np.where(n // 20 % 2, 1.0, -1.0),
        "impulse": (n == count // 2) * 1.0,
        "steps": n // 100 % 7 / 7.0,
        "nyquist": np.where(n % 2, 1.0, -1.0),
        "dc": np.full(count, 0.7),
        "zeros": np.zeros(count),
    }.get(kind, rng.uniform(-1, 1, count) * FACTORS.get(kind, 1.0))
    samples = np.tile(wave.astype(np.float32), (channels, 1))
    if kind == "antiphase":
        samples[1::2] *= -1
    elif kind == "one side":
        samples[1:] = 0
    return samples


def video_track(draw: random.Random, rng: np.random.Generator) -> tuple[VideoTrack, VideoInfo]:
    width, height, kind = draw.choice(SIDES), draw.choice(SIDES), draw.choice(PICTURES)
    count = draw.choice((1, 1, 2, 3, 8, 8, 30))
    frames = np.stack([picture(kind, width, height, n, rng) for n in range(count)])
    thumbs = frames[:, :, :, 0]
    if max(width, height) > 160:
        thumbs = thumbs[:, :: 1 + height // 160, :: 1 + width // 160]
    steps = draw.choice((np.full(count, 0.04), np.full(count, 1e-6), np.full(count, 1e4), rng.uniform(1e-3, 3, count)))
    pts = np.cumsum(steps) - steps[0]
    kept = np.linspace(0, count - 1, min(count, 8)).astype(int)
    info = VideoInfo(
        codec=draw.choice(("h264", "av1", "png", "")),
        width=width,
        height=height,
        fps=draw.choice((None, 1e-6, 25.0, 60000.0)),
        pixel_format="yuv420p",
        bitrate=draw.choice((None, 1, 10**6, 10**12)),
        duration=draw.choice((None, 0.0, float(pts[-1]) + 0.04)),
        color_transfer=draw.choice((None, "smpte2084")),
        still=count == 1 and draw.random() < 0.5,
    )
    track = VideoTrack(frames[kept], pts[kept], np.ascontiguousarray(thumbs), pts, draw.choice((0, 0, count, 10**6)))
    return track, info


def audio_track(draw: random.Random, rng: np.random.Generator) -> tuple[AudioTrack, AudioInfo]:
    rate, length, channels = draw.choice(RATES), draw.choice(LENGTHS), draw.choice((1, 2, 2, 6, 16))
    count = length if isinstance(length, int) else round(min(length, 400_000 / rate) * rate)
    samples = sound(draw.choice(SOUNDS), count, channels, rng)
    start = draw.choice((0.0, 0.5, 1e4))
    gaps = [(start, start + count / rate / 2)] if draw.random() < 0.2 and count > 2 else []
    info = AudioInfo(codec="aac", sample_rate=rate, channels=channels, duration=draw.choice((None, 0.0, count / rate)))
    return AudioTrack(samples, rate, start, gaps, draw.choice((0, 5))), info


def synthetic(draw: random.Random, rng: np.random.Generator) -> Clip:
    """A clip with extreme picture, extreme sound, or both."""
    parts = draw.choice(("video", "audio", "both", "both"))
    video, video_info = video_track(draw, rng) if parts != "audio" else (None, None)
    audio, audio_info = audio_track(draw, rng) if parts != "video" else (None, None)
    info = MediaInfo(path="x", container="x", size_bytes=1, duration=8.0, video=video_info, audio=audio_info)
    return Clip(info, 0.0, 8.0, video, audio)


def as_file(folder: Path, draw: random.Random, rng: np.random.Generator) -> Path:
    """A lossless clip of an odd size, or a WAV file of floats that are no sound."""
    if draw.random() < 0.5:
        path, width, height = folder / "a.mov", draw.choice(SIDES), draw.choice(SIDES)
        kind = draw.choice(PICTURES)
        with av.open(str(path), "w") as out:
            stream = out.add_stream("png", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
            for n in range(draw.choice((1, 2, 12))):
                frame = av.VideoFrame.from_ndarray(picture(kind, width, height, n, rng), "rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path
    samples = sound(draw.choice(SOUNDS), draw.choice((1, 50, 4000)), 1, rng)[0] * draw.choice(
        (1, 1e30, np.nan, -np.inf)
    )
    samples[:: draw.choice((1, 7))] *= draw.choice((1, np.nan, np.inf, 3e38))
    body, rate = samples.astype("<f4").tobytes(), draw.choice((*RATES, 1, 50, 10**9))
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, 3, 1, rate, 4 * rate, 4, 32)
    path = folder / "a.wav"
    path.write_bytes(head + struct.pack("<4sI", b"data", len(body)) + body)
    return path


def look_at(clip: Clip) -> None:
    """Raises whatever goes wrong, and for a fact or a view that is no number."""
    views = make_views(clip, SPEC)
    if views.sound is not None and not np.isfinite(views.sound).all():
        raise AssertionError("the sound's view is not finite")
    for fact in measure(clip):
        if fact.value is not None and not np.isfinite(fact.value):
            raise AssertionError(f"{fact.name} is {fact.value}")


def extremes(cases: int, seed: int = 0) -> Result:
    result, begin = Result(), time.perf_counter()
    with TemporaryDirectory() as folder, MediaReader() as reader, np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(cases):
            draw, rng = random.Random(f"{seed}-{number}"), np.random.default_rng([seed, number])
            start = time.perf_counter()
            try:
                clip = reader.read_clip(as_file(Path(folder), draw, rng)) if number % 10 == 0 else synthetic(draw, rng)
                look_at(clip)
                result.measured += 1
            except AvqaError as error:
                result.typed[error.kind] += 1
            except Exception as error:  # the point of the exercise: whatever it is, it is counted
                result.untyped.append(f"{seed}-{number}: {type(error).__name__}: {error}"[:200])
            result.cases += 1
            result.longest = max(result.longest, time.perf_counter() - start)
    result.seconds = time.perf_counter() - begin
    return result


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse extremes", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    result = extremes(given.cases, given.seed)
    print(json.dumps(result.table(), indent=1))
    return 0 if result.good else 1
