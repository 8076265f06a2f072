"""Mutated media through the guarded reader, the evidence and the views: every file ends in a result or a typed error.

`python -m tests.abuse fuzz --files 20000 --seed 1`. Mutations: flipped bits, cuts, ranges zeroed, doubled or left out,
splices of two files, edited headers. Counted: results, typed errors by kind, crashes and hangs of the decoding process,
exceptions of no type, and the longest request.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from PIL import Image

from data_recipes.distortions.video_codec import no_real_time
from mllm_avqa.evidence import measure
from mllm_avqa.media import Limits, MediaReader
from mllm_avqa.model.views import make_views
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import AvqaError, MediaError, MediaTimeout

# (suffix, video codec, audio codec, container options): 17 containers.
SEEDS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("mp4", "libx264", "aac", {}),
    ("mp4", "libx265", "aac", {"movflags": "+faststart"}),
    ("mp4", "libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ("mp4", "libsvtav1", "libmp3lame", {}),
    ("mov", "prores_ks", "pcm_s16le", {}),
    ("mkv", "libx264", "flac", {}),
    ("mkv", "ffv1", "pcm_s16le", {}),
    ("webm", "libvpx", "libopus", {}),
    ("webm", "libvpx-vp9", "libopus", {}),
    ("avi", "mpeg4", "libmp3lame", {}),
    ("avi", "mjpeg", "pcm_s16le", {}),
    ("flv", "libx264", "aac", {}),
    ("ts", "libx264", "aac", {}),
    ("ts", "mpeg2video", "mp2", {}),
    ("mpg", "mpeg2video", "mp2", {}),
    ("wmv", "wmv2", "wmav2", {}),
    ("3gp", "h263", "aac", {}),
    ("ogg", "", "libopus", {}),
    ("wav", "", "pcm_s16le", {}),
    ("mp3", "", "libmp3lame", {}),
    ("flac", "", "flac", {}),
    ("aac", "", "aac", {}),
    ("h264", "libx264", "", {}),
)
PICTURES = ("png", "jpg", "webp", "tiff", "bmp", "gif", "avif")
FAST = {
    "libx264": {"preset": "ultrafast", "bf": "1", "g": "8"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}
FORMATS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
LIMITS = Limits(max_seconds=20.0, max_pixels=4096 * 2160, max_memory_mb=2048)
SPEC = ViewSpec(window_seconds=1.0, hop_seconds=1.0)


@dataclass
class Result:
    files: int = 0
    rated: int = 0
    typed: Counter[str] = field(default_factory=Counter)
    unforeseen: Counter[str] = field(default_factory=Counter)  # of a library, typed by the decoding process
    untyped: list[str] = field(default_factory=list)
    crashes: int = 0
    hangs: int = 0
    longest: float = 0.0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.untyped or self.crashes or self.hangs)

    def table(self) -> dict[str, object]:
        return {
            "files": self.files,
            "results": self.rated,
            "typed errors": sum(self.typed.values()),
            "by kind": dict(self.typed.most_common()),
            "of them unforeseen": dict(self.unforeseen.most_common(20)),
            "crashes": self.crashes,
            "hangs": self.hangs,
            "untyped": len(self.untyped),
            "which": self.untyped[:20],
            "longest request s": round(self.longest, 2),
            "seconds": round(self.seconds),
        }


def seed_files(folder: Path) -> list[Path]:
    """One small clip, recording or picture of every kind."""
    os.environ.setdefault("SVT_LOG", "1")
    paths = []
    for n, (suffix, video, audio, options) in enumerate(SEEDS):
        path = folder / f"seed{n}.{suffix}"
        _write(path, video, audio, options)
        paths.append(path)
    images = [Image.fromarray(_picture(n)) for n in range(4)]
    for suffix in PICTURES:
        paths.append(folder / f"picture.{suffix}")
        moving = {"save_all": True, "append_images": images[1:]} if suffix in ("gif", "webp") else {}
        images[0].save(paths[-1], **moving)
    return paths


def _picture(number: int, width: int = 176, height: int = 144) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    image = np.stack([x + 5 * number, 2 * y + number, x * y // 64], axis=2)
    return (image % 256).astype(np.uint8)


def _write(path: Path, video_codec: str, audio_codec: str, options: dict[str, str]) -> None:
    fps, seconds = 25, 1.6
    rate = {"libopus": 48000, "": 0}.get(audio_codec, 44100)
    with av.open(str(path), "w", options=options) as out:
        video = audio = None
        if video_codec:
            video = out.add_stream(video_codec, rate=fps, options=FAST.get(video_codec, {}))
            video.width, video.height, video.pix_fmt = 176, 144, FORMATS.get(video_codec, "yuv420p")
        if audio_codec:
            audio = out.add_stream(audio_codec, rate=rate, layout="mono")
            audio.bit_rate = 64_000
        packets = []
        if video is not None:
            for number in range(round(fps * seconds)):
                frame = av.VideoFrame.from_ndarray(_picture(number), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                packets += video.encode(frame)
                no_real_time()
            packets += video.encode()
        if audio is not None:
            wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)
            size = audio.codec_context.frame_size or 1024
            resampler = av.AudioResampler(audio.codec_context.format, "mono", rate, frame_size=size)
            block = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
            block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), 0
            for part in [*resampler.resample(block), *resampler.resample(None)]:
                packets += audio.encode(part)
            packets += audio.encode()
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)


# ---- mutations ----------------------------------------------------------------------------------------------------

Mutation = Callable[[bytearray, bytes, random.Random], bytes]


def _place(data: bytearray, rng: random.Random) -> int:
    """Half of all damage goes where headers lie: near the beginning or the end."""
    if rng.random() < 0.5:
        return rng.randrange(len(data))
    near = rng.randrange(min(len(data), 1024))
    return near if rng.random() < 0.7 else len(data) - 1 - near


def _flip(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 3, 10, 100))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(1, len(data))])


def _behead(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    return bytes(data[_place(data, rng) :])


def _zero(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    at, count = _place(data, rng), rng.choice((4, 64, 1000, 10000))
    data[at : at + count] = bytes(len(data[at : at + count]))
    return bytes(data)


def _double(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    at, count = _place(data, rng), rng.choice((8, 188, 2000, len(data)))
    return bytes(data[:at] + data[at : at + count] * rng.choice((2, 3)) + data[at + count :])


def _leave_out(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    at, count = _place(data, rng), rng.choice((1, 8, 188, 2000))
    return bytes(data[:at] + data[at + count :])


def _splice(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(1, len(data))]) + other[rng.randrange(len(other)) :]


def _insert(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return bytes(data[:at]) + rng.randbytes(rng.choice((1, 4, 100, 3000))) + bytes(data[at:])


def _header(data: bytearray, other: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(min(len(data), 2048)) & ~1
        value = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", rng.randbytes(4)))
        data[at : at + 4] = value[: len(data[at : at + 4])]
    return bytes(data)


MUTATIONS: tuple[Mutation, ...] = (_flip, _cut, _behead, _zero, _double, _leave_out, _splice, _insert, _header)


# ---- one file -----------------------------------------------------------------------------------------------------


class _Ends(logging.Handler):
    """Counts the ends of decoding processes, also those that a second try made good."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result

    def emit(self, record: logging.LogRecord) -> None:
        self.result.crashes += "decoding process ended" in record.getMessage()


def look_at(path: Path, reader: MediaReader, spec: ViewSpec = SPEC) -> None:
    """What a rating does with a file before the model. Raises whatever goes wrong."""
    info = reader.probe(path)
    starts = {0.0, max(0.0, info.duration / 2), max(0.0, info.duration - 0.3)}
    for start in sorted(starts)[: 1 if info.duration > 600 else 3]:
        clip = reader.read_clip(path, spec.decode(start))
        make_views(clip, spec)
        for fact in measure(clip):
            if fact.value is not None and not np.isfinite(fact.value):
                raise AssertionError(f"{fact.name} is {fact.value}")
    if info.subtitle_streams:
        reader.read_subtitles(path)


def fuzz(files: int, seed: int = 0, keep: Path | None = None) -> Result:
    """keep: folder for the files that crash, hang or raise something of no type."""
    result, rng = Result(), random.Random(seed)
    handler = _Ends(result)
    log = logging.getLogger("mllm_avqa.media.guard")
    log.addHandler(handler)
    begin = time.perf_counter()
    try:
        with TemporaryDirectory() as folder, MediaReader(limits=LIMITS) as reader:
            seeds = [(p.suffix, p.read_bytes()) for p in seed_files(Path(folder))]
            for number in range(files):
                suffix, data = seeds[number % len(seeds)]
                mutate = MUTATIONS[(number // len(seeds)) % len(MUTATIONS)]
                path = Path(folder) / f"fuzzed{suffix}"
                path.write_bytes(mutate(bytearray(data), rng.choice(seeds)[1], rng))
                bad = result.crashes + result.hangs + len(result.untyped)
                _try(path, reader, result, f"{mutate.__name__[1:]} {suffix} {number}")
                if keep is not None and result.crashes + result.hangs + len(result.untyped) > bad:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{seed}_{number}{suffix}").write_bytes(path.read_bytes())
    finally:
        log.removeHandler(handler)
    result.seconds = time.perf_counter() - begin
    return result


def _try(path: Path, reader: MediaReader, result: Result, what: str) -> None:
    begin = time.perf_counter()
    try:
        look_at(path, reader)
        result.rated += 1
    except MediaTimeout:
        result.hangs += 1
        result.typed["timed_out"] += 1
    except AvqaError as error:
        result.typed[error.kind] += 1
        if type(error) is MediaError and " cannot be read (" in str(error):
            result.unforeseen[str(error).split(" cannot be read (")[1].split(":")[0]] += 1
    except Exception as error:  # the point of the exercise: whatever it is, it is counted
        result.untyped.append(f"{what}: {type(error).__name__}: {error}"[:200])
    result.files += 1
    result.longest = max(result.longest, time.perf_counter() - begin)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that crash, hang or raise something of no type")
    given = parser.parse_args(arguments)
    result = fuzz(given.files, given.seed, given.keep)
    print(json.dumps(result.table(), indent=1))
    return 0 if result.good else 1
