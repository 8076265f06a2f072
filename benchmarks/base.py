"""What every benchmark shares: rows, timing with medians, made clips. Ratios come from one run on one machine."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.clock import spent


@dataclass(frozen=True)
class Ratio:
    """One comparison. `target` is a bound on the ratio such as "<= 1.10" or ">= 3"; None = told, not judged."""

    what: str
    ours: str
    peer: str
    ratio: float
    target: str | None = None

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        sign, bound = self.target.split()
        return self.ratio <= float(bound) if sign == "<=" else self.ratio >= float(bound)


@dataclass
class Measured:
    title: str
    rows: list[Ratio]
    notes: list[str] = field(default_factory=list)  # what exactly was compared


@dataclass(frozen=True)
class Options:
    checkpoint: str = "nano"
    clip: Path = Path("examples/elf.mp4")
    clips: Path | None = None  # folder with further clips
    repeats: int = 5
    threads: int | None = None
    peer_python: Path | None = None  # interpreter of an environment with ms-swift
    keep: Path | None = None  # folder for what the benchmarks of training make


@dataclass(frozen=True)
class Cost:
    wall: float  # seconds
    cpu: float  # seconds of this process, its threads and its finished or living children

    def __str__(self) -> str:
        return f"{self.wall:.3f} s wall, {self.cpu:.3f} s CPU"


def timed(call: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), spent()
    call()
    return Cost(time.perf_counter() - wall, spent() - cpu)


def child(code: str, *arguments: object) -> list[float]:
    """The numbers in the last line that `python -c code arguments` prints, sizes in `ru_maxrss` units as MB."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # Linux counts in KiB, macOS in bytes
    return [int(n) / unit for n in done[-1].split()]


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, Cost]:
    """Median cost of every call after one warm-up; the calls take turns, so that a slow moment hits all of them."""
    for call in calls.values():
        call()
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            costs[name].append(timed(call))
    return {
        name: Cost(statistics.median(c.wall for c in found), statistics.median(c.cpu for c in found))
        for name, found in costs.items()
    }


def make_clip(source: Path, target: Path, *, height: int, seconds: float, start: float = 0.0) -> Path:
    """Scale and loop a clip (H.264, AAC, mp4). Width keeps the aspect, both sides even; frame rate is the source's."""
    frames, sound, rate, fps = _decoded(source)
    width = round(frames[0].shape[1] * height / frames[0].shape[0] / 2) * 2
    count = round(seconds * float(fps))
    first = round(start * float(fps))
    samples = sound[:, np.arange(round(start * rate), round((start + seconds) * rate)) % sound.shape[1]]
    with av.open(str(target), "w") as out:
        video: Any = out.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"preset": "veryfast", "crf": "23"}
        audio: Any = out.add_stream("aac", rate=rate)
        audio.layout = "stereo" if sound.shape[0] == 2 else "mono"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(frames[(first + i) % len(frames)], format="rgb24")
            out.mux(video.encode(frame.reformat(width=width, height=height, format="yuv420p")))
        out.mux(video.encode(None))
        for i in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, i : i + 1024]), format="fltp", layout=audio.layout.name
            )
            block.sample_rate, block.pts = rate, i
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    return target


def _decoded(source: Path) -> tuple[list[np.ndarray], np.ndarray, int, Any]:
    """Frames rgb24, sound float32 [1 or 2 channels, n], its rate, frames per second."""
    with av.open(str(source)) as c:
        fps = c.streams.video[0].average_rate
        frames = [f.to_ndarray(format="rgb24") for f in c.decode(video=0)]
    with av.open(str(source)) as c:
        stream = c.streams.audio[0]
        layout = "stereo" if stream.channels >= 2 else "mono"
        resampler = av.AudioResampler("fltp", layout, stream.rate)
        blocks = [b.to_ndarray() for f in c.decode(audio=0) for b in resampler.resample(f)]
    return frames, np.concatenate(blocks, 1), stream.rate, fps
