"""Time per room, and the whole way to prepared windows against a plain decode of the same pictures and sound."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import av

from benchmarks.base import Measured, Options, Ratio, make_clip, medians
from mllm_avqa.media import MediaReader
from mllm_avqa.rater import resolve_checkpoint
from mllm_avqa.schema.card import Card
from mllm_avqa.windows import file_windows

CLIPS = (("8 s 540p", 540, 8.0), ("10 s 1080p", 1080, 10.0))


def run(settings: Options) -> Measured:
    spec = Card.load(resolve_checkpoint(settings.checkpoint)).views
    rows: list[Ratio] = []
    notes = [
        "Ours: probe (its time counts as media) and guarded decoding with exact times and a thumbnail of every frame, "
        "every measured fact, views; context is timed apart. One window of the checkpoint's length "
        f"({spec.window_seconds:g} s) from the start of the clip.",
        "Peer: PyAV in this process, one pass over picture and sound until the window ends; every frame is decoded, "
        "only the frames of the view become rgb24, sound becomes float32. FFmpeg's default threads on both sides.",
        f"Medians of {settings.repeats} interleaved runs.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, height, seconds in CLIPS:
            path = make_clip(settings.clip, Path(folder) / f"{height}.mp4", height=height, seconds=seconds)
            rows += compare(name, path, spec, settings, notes)
    return Measured("Rooms", rows, notes)


def compare(name: str, path: Path, spec: Any, settings: Options, notes: list[str]) -> list[Ratio]:
    reader = MediaReader()
    rooms: dict[str, list[float]] = {}
    times: list[float] = []

    def ours() -> None:
        begin = time.perf_counter()
        p = next(file_windows(str(path), reader, spec, context="none"))
        probed = time.perf_counter() - begin - sum(p.seconds.values())  # the facts of the file
        for room, s in p.seconds.items():
            rooms.setdefault(room, []).append(s + probed if room == "media" else s)
        times[:] = p.views.notes["frame_times"]  # type: ignore[call-overload]

    try:
        cost = medians({"ours": ours, "peer": lambda: plain_decode(path, spec.window_seconds, times)}, settings.repeats)
        full = next(file_windows(str(path), reader, spec)).seconds["context"]
    finally:
        reader.close()
    mine, peer = cost["ours"], cost["peer"]
    each = {room: statistics.median(found[1:]) for room, found in rooms.items()}
    core = sum(each[r] for r in ("media", "evidence", "views"))
    told = ", ".join(f"{r} {each[r]:.3f} s" for r in ("media", "evidence", "views"))
    notes.append(f"{name}: {told}; context level fast, first call {full:.3f} s.")
    return [
        Ratio(
            f"{name}: media + evidence + views / plain decode, wall",
            f"{core:.3f} s",
            f"{peer.wall:.3f} s",
            core / peer.wall,
            "<= 1.6",
        ),
        Ratio(f"{name}: the same, CPU", f"{mine.cpu:.3f} s", f"{peer.cpu:.3f} s", mine.cpu / peer.cpu),
    ]


def plain_decode(path: Path, seconds: float, keep: list[float]) -> tuple[int, int]:
    """Decode picture and sound up to `seconds`; frames at the times in `keep` become rgb24. Returns their numbers."""
    wanted = set(keep)
    frames = samples = 0
    with av.open(str(path)) as c:
        for stream in c.streams:
            stream.thread_type = "AUTO"  # type: ignore[attr-defined]
        open_streams = {s.index for s in (*c.streams.video[:1], *c.streams.audio[:1])}
        for packet in c.demux(*c.streams.video[:1], *c.streams.audio[:1]):
            if packet.stream.index not in open_streams:
                continue
            for frame in packet.decode():
                if not isinstance(frame, av.VideoFrame | av.AudioFrame):
                    continue
                if frame.time is not None and frame.time >= seconds:
                    open_streams.discard(packet.stream.index)
                    break
                if isinstance(frame, av.VideoFrame):
                    frames += 1
                    if frame.time is not None and round(frame.time, 3) in wanted:
                        frame.to_ndarray(format="rgb24")
                else:
                    samples += frame.to_ndarray().shape[-1]
            if not open_streams:
                break
    return frames, samples
