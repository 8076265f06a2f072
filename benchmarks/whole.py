"""The pass over a whole file against a plain decode of it, and the memory of a rating by the length of its file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av

from benchmarks.base import Measured, Options, Ratio, child, make_clip, medians
from mllm_avqa.media import MediaReader
from mllm_avqa.media.window import cores
from mllm_avqa.rater import resolve_checkpoint

CLIPS = (("540p", 540, 20.0), ("1080p", 1080, 8.0), ("4K", 2160, 3.0))
MINUTES = (2, 20)
LIMIT_MB = 512.0  # of a rating beside the model, whatever the length
PEAK = """
import sys
from benchmarks.clock import living_children
from mllm_avqa.rater import Rater

def high_water(pid):  # KiB
    with open(f"/proc/{pid}/status") as f:
        return max((int(line.split()[1]) for line in f if line.startswith("VmHWM")), default=0)

rater = Rater.from_pretrained(sys.argv[1], threads=1)
before = high_water("self")
rating = rater.rate(sys.argv[2], explain=False)
passed = round(1e6 / 1024 * rating.seconds["pass"])  # all numbers are read as KiB
print(before, high_water("self"), max(map(high_water, living_children())), passed)
rater.close()
"""


def run(settings: Options) -> Measured:
    rows: list[Ratio] = []
    notes = [
        "Ours: `MediaReader.scan` in its guarded process, with all numbers sent back. Peer: PyAV in this process, "
        "every packet of picture and sound decoded, nothing kept; the same number of decoder threads on both sides.",
        f"Medians of {settings.repeats} interleaved runs.",
    ]
    with tempfile.TemporaryDirectory() as folder, MediaReader() as reader:
        for name, height, seconds in CLIPS:
            path = make_clip(settings.clip, Path(folder) / f"{height}.mp4", height=height, seconds=seconds)
            rows += compare(f"{seconds:g} s {name}", path, reader, settings)
        base = make_clip(settings.clip, Path(folder) / "base.mp4", height=180, seconds=60.0)
        rows += lengths(base, Path(folder), resolve_checkpoint(settings.checkpoint))
    return Measured("Whole files", rows, notes)


def compare(name: str, path: Path, reader: MediaReader, settings: Options) -> list[Ratio]:
    reader.probe(path)  # its facts are kept for the pass, as in a rating
    threads = min(reader.limits.max_threads, cores())
    cost = medians({"ours": lambda: reader.scan(path), "peer": lambda: plain(path, threads)}, settings.repeats)
    mine, peer = cost["ours"], cost["peer"]
    return [
        Ratio(
            f"{name}: pass / plain decode, wall",
            f"{mine.wall:.3f} s",
            f"{peer.wall:.3f} s",
            mine.wall / peer.wall,
            "<= 1.3",
        ),
        Ratio(f"{name}: the same, CPU", f"{mine.cpu:.3f} s", f"{peer.cpu:.3f} s", mine.cpu / peer.cpu, "<= 1.3"),
    ]


def plain(path: Path, threads: int) -> int:
    """Decode all of a file and keep nothing; the number of its frames."""
    with av.open(str(path)) as c:
        streams = [*c.streams.video[:1], *c.streams.audio[:1]]
        for s in c.streams.video[:1]:
            s.thread_type, s.thread_count = "AUTO", threads
        return sum(len(packet.decode()) for packet in c.demux(*streams))


def lengths(base: Path, folder: Path, checkpoint: Path) -> list[Ratio]:
    """Peak memory of a rating and time of its pass, of a short and of a long file."""
    rows: list[Ratio] = []
    passed: list[float] = []
    for minutes in MINUTES:
        path = looped(base, folder / f"{minutes}.mp4", minutes)
        before, own, decoder, seconds = child(PEAK, checkpoint, path)
        passed.append(seconds)
        beside = own - before + decoder
        told = f"{own:.0f} MB and decoder {decoder:.0f} MB"
        rows.append(
            Ratio(
                f"{minutes} min 180p: memory beside the model, of 512 MB", told, f"model {before:.0f} MB",
                beside / LIMIT_MB, "<= 1",
            )
        )  # fmt: skip
    short, long = (p / m for p, m in zip(passed, MINUTES, strict=True))
    each = f"{MINUTES[1]} against {MINUTES[0]} min: time of the pass per minute"
    rows.append(Ratio(each, f"{long:.2f} s", f"{short:.2f} s", long / short, "<= 1.2"))
    return rows


def looped(source: Path, target: Path, times: int) -> Path:
    """The packets of a clip again and again, with times that go on."""
    with av.open(str(target), "w") as out:
        offset = 0.0
        made: dict[int, av.stream.Stream] = {}
        for _ in range(times):
            with av.open(str(source)) as c:
                if not made:
                    made = {s.index: out.add_stream_from_template(s) for s in (*c.streams.video, *c.streams.audio)}
                first = last = 0.0  # streams begin before 0: B-frames, what primes a decoder
                for packet in c.demux(*c.streams.video, *c.streams.audio):
                    if packet.dts is None:
                        continue
                    begin = float(packet.dts * packet.time_base)
                    first, last = min(first, begin), max(last, begin + float((packet.duration or 0) * packet.time_base))
                    moved = round(offset / float(packet.time_base))
                    packet.pts, packet.dts = (packet.pts or 0) + moved, packet.dts + moved
                    packet.stream = made[packet.stream.index]
                    out.mux(packet)
                offset += last - first
    return target
