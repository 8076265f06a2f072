"""Distorted clips per second against the floor: one decode and one x264 encode per clip, nothing else.

Both sides run in the same number of processes, one clip at a time each, with the encoder settings of the recipes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.base import Cost, Measured, Options, Ratio, make_clip

HEIGHT, SECONDS = 540, 8.0
LEVEL = 3
CRF, PRESET, BITRATE = 14, "ultrafast", 256000  # of the finished clips: defaults of recipes and of mux.write_clip
EVERY = 4  # kinds between two clips of the floor
FLOOR = "floor"
TARGET = ">= 0.6"
WORDS = "a clip with lines of words that are spoken and shown so that captions can go wrong"


def run(settings: Options, seconds: float = SECONDS, names: Sequence[str] | None = None) -> Measured:
    """Every kind of fault once, at level 3; `names` limits them."""
    from data_recipes.distortions import kinds
    from data_recipes.synthesis.synth import cores, worker_environment

    names = [k.kind for k in kinds()] if names is None else list(names)
    processes = cores()
    with tempfile.TemporaryDirectory() as folder, worker_environment():
        clip = make_clip(settings.clip, Path(folder) / "clip.mp4", height=HEIGHT, seconds=seconds)
        with ProcessPoolExecutor(processes, get_context("spawn"), _start, (clip,)) as pool:
            list(pool.map(make, [FLOOR, *names[:1]] * processes))  # the first clips of a process are slower
            made = list(pool.map(make, interleaved(names)))
    floors = [cost for name, cost in made if name == FLOOR]
    return report(floors, {name: cost for name, cost in made if name != FLOOR}, processes, seconds)


def interleaved(names: Sequence[str]) -> list[str]:
    """The kinds with a floor clip before every few of them and one at the end: a slow moment hits both sides."""
    jobs = [job for i, name in enumerate(names) for job in ([FLOOR, name] if i % EVERY == 0 else [name])]
    return [*jobs, FLOOR]


def report(floors: Sequence[Cost], ours: Mapping[str, Cost], processes: int, seconds: float) -> Measured:
    """Rows of what the clips of both sides cost. Rates are those of all processes together."""
    floor = statistics.mean(c.cpu for c in floors)
    mean = statistics.mean(c.cpu for c in ours.values())
    peer = processes / statistics.mean(c.wall for c in floors)
    rate = processes / statistics.mean(c.wall for c in ours.values())
    rows = [
        Ratio(
            f"{len(ours)} kinds equally often, CPU per clip", f"{mean:.3f} s", f"{floor:.3f} s", floor / mean, TARGET
        ),
        Ratio("clips per second", f"{rate:.2f}/s", f"{peer:.2f}/s", rate / peer),
    ]
    rows += [
        Ratio(kind, f"{cost.cpu:.3f} s", f"{floor:.3f} s", floor / cost.cpu)
        for kind, cost in sorted(ours.items(), key=lambda item: item[1].cpu, reverse=True)
    ]
    return Measured(
        "Synthesis",
        rows,
        [
            f"Clips of {seconds:g} s at {HEIGHT} lines made of the example clip, {processes} processes. Ratios are of "
            "rates, ours / floor: 1 would mean that a fault costs nothing.",
            "Ours: decode the source to RGB and float sound, distort (level 3, whole clip), write the finished clip. "
            "Nothing is kept from clip to clip here; a real run decodes a window once for all clips that show it.",
            f"Floor: decode the same file and encode its frames again as they are (x264 {PRESET} CRF {CRF}, AAC "
            f"{BITRATE // 1000} kb/s), without a turn to RGB; mean of {len(floors)} clips made in between.",
            "CPU per clip is that of the working process and its threads.",
        ],
    )


_source: dict[str, Any] = {}  # of a worker: path of the clip, folder to write to


def _start(clip: Path) -> None:
    import pyloudnorm
    import scipy.fft
    import scipy.ndimage
    import scipy.signal
    from PIL import ImageFont

    from mllm_avqa.schema.workers import one_thread

    # What some kinds import when they are first used is no cost of the clip that happens to come first.
    _source.update(loaded=(pyloudnorm, scipy.fft, scipy.ndimage, scipy.signal, ImageFont))
    one_thread()
    _source.update(clip=clip, target=clip.parent / f"{os.getpid()}.mp4")


def make(name: str) -> tuple[str, Cost]:
    """Make one clip with the kind `name`, or one of the floor; returns the name and the cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    if name == FLOOR:
        transcode(_source["clip"], _source["target"])
    else:
        distorted(_source["clip"], _source["target"], name)
    return name, Cost(time.perf_counter() - wall, time.process_time() - cpu)


def distorted(source: Path, target: Path, kind: str) -> None:
    """The way of `data_recipes.synthesis.build` without records: read, distort, write."""
    from dataclasses import replace

    from data_recipes.distortions import captions_of, distort
    from data_recipes.synthesis.mux import read_material, write_clip

    material = read_material(source)
    assert material.sound is not None
    other = replace(material, frames=None, sound=np.roll(material.sound, material.sound.shape[1] // 3, axis=1))
    material = replace(material, other=other, captions=captions_of(WORDS, material.duration), transcript=WORDS)
    changed, _ = distort(material, kind, LEVEL, seed=0)
    write_clip(target, changed, crf=CRF, preset=PRESET, audio_bitrate=BITRATE)


def transcode(source: Path, target: Path) -> None:
    """Decode picture and sound and encode them again, frame by frame."""
    import av
    from av.video.frame import PictureType

    from data_recipes.synthesis.mux import SLICES

    with av.open(str(source)) as box, av.open(str(target), "w", format="mp4") as out:
        seen, heard = box.streams.video[0], box.streams.audio[0]
        video: Any = out.add_stream("libx264", rate=seen.average_rate, options={"crf": str(CRF), "preset": PRESET})
        video.width, video.height, video.pix_fmt = seen.width, seen.height, "yuv420p"
        video.thread_count = SLICES
        audio: Any = out.add_stream("aac", rate=heard.rate)
        audio.layout, audio.bit_rate = heard.layout.name, BITRATE
        for packet in box.demux(seen, heard):
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    frame.pict_type = PictureType.NONE  # or x264 is forced to the picture types of the source
                    out.mux(video.encode(frame))
                else:
                    out.mux(audio.encode(frame))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
