"""How long a file is, by its packets: what a header declares is a claim, and an estimate is less."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mllm_avqa.media.packets import Clock, Continuous, PacketEntry, read_packets

if TYPE_CHECKING:
    from av.container import InputContainer

MAX_BYTES = 4 << 30  # files beyond are taken at their word: reading them through would cost minutes

_HEAD = 512  # bytes of a packet in which its first slice begins
_START = re.compile(rb"\x00?\x00\x00\x01")
_H264 = {n | r << 5 for n in (7, 8, 9) for r in range(4)}  # first bytes of sequence and picture parameters, delimiter
_HEVC = {n << 1 for n in (32, 33, 34, 35)}
_BEGIN = 50  # packets of a stream whose durations are kept
_KEPT = 20_000  # packets of a stream that are kept one by one: ten minutes of pictures, 5 MB


@dataclass
class Extent:
    """One stream's packets, on the container's clock."""

    first: Fraction
    end: Fraction
    count: int
    size: int  # bytes
    step: Fraction  # usual time between two frames
    begin: list[tuple[Fraction, Fraction]]  # times and durations of the first packets
    timed: bool  # False: the packets carry no times and were counted at the nominal rate
    entries: list[PacketEntry]  # every packet; empty if they are too many
    base: Fraction  # seconds of their ticks

    def before(self, time: Fraction) -> Fraction:
        """How many seconds of the first packets lie before `time`; none lasts longer than the usual one."""
        return sum((min(length, self.step, time - start) for start, length in self.begin if start < time), Fraction(0))

    @property
    def rate(self) -> float | None:
        """Frames per second."""
        span = float(self.end - self.first)
        return self.count / span if span > 0 else None

    @property
    def bitrate(self) -> int | None:
        span = float(self.end - self.first)
        return round(8 * self.size / span) if span > 0 else None


@dataclass
class Survey:
    extents: dict[int, Extent] = field(default_factory=dict)  # by stream index; streams without packets are missing
    shifts: tuple[float, ...] = ()  # of the parts of a file whose clock starts again


def survey(
    container: InputContainer, streams: Iterable[Any], until: int | None = None, most: int | None = None
) -> Survey:
    """Reads a freshly opened container to its end, a byte of it, or one packet more than `most`; decodes nothing."""
    streams = list(streams)
    notes = {stream.index: _Notes(stream) for stream in streams}
    clock = Continuous(container, until=until)
    for count, packet in enumerate(read_packets(container, streams, clock=clock)):
        notes[packet.stream.index].add(packet)
        if count == most:
            break
    found = {index: extent for index, note in notes.items() if (extent := note.extent()) is not None}
    return Survey(found, clock.shifts)


def leading_headers(packet: Any) -> int:
    """Bytes of delimiters and parameter sets before the first slice of an H.264 or HEVC packet with start codes."""
    head = bytes(packet)[:_HEAD]
    kinds = _H264 if packet.stream.codec_context.name == "h264" else _HEVC
    other = (c.start() for c in _START.finditer(head) if c.end() >= len(head) or head[c.end()] not in kinds)
    return next(other, 0)


def lasting(duration: int, step: int) -> int:
    """How long the last frame is shown: what its packet says, unless that is next to nothing (FLV, MPEG-TS)."""
    return duration if 4 * duration > step else step


class _Notes:
    def __init__(self, stream: Any) -> None:
        # Where a receiver may join at any time, every picture brings delimiters and parameters along.
        annex_b = stream.container.format.name in ("mpegts", "mpeg", "h264", "hevc")
        self._repeats = annex_b and stream.codec_context.name in ("h264", "hevc")
        self._clock = Clock(stream)
        self._times = array("q")
        self._size = 0
        self._last = (0, 0)  # time and duration of the packet shown last
        self._begin: list[tuple[int, int]] = []
        self._timed = False
        self._entries: list[PacketEntry] = []

    def add(self, packet: Any) -> None:
        timed = packet.pts is not None or packet.dts is not None
        entry = PacketEntry.of(packet, self._clock)
        ticks, duration = entry.pts, entry.duration if timed else self._clock.step
        if len(self._entries) <= _KEPT:
            self._entries.append(entry)
        self._size += packet.size - (leading_headers(packet) if self._repeats else 0)
        self._timed |= timed
        if not packet.is_discard and abs(ticks) < 1 << 62:
            self._last = max(self._last, (ticks, duration)) if self._times else (ticks, duration)
            self._times.append(ticks)
            if len(self._begin) < _BEGIN:
                self._begin.append((ticks, duration))

    def extent(self) -> Extent | None:
        if not self._times:
            return None
        times = np.unique(np.frombuffer(self._times, np.int64))
        step = int(np.median(np.diff(times))) if len(times) > 1 else self._clock.step
        base = self._clock.base
        end = self._last[0] + lasting(self._last[1], step)
        begin = [(ticks * base, duration * base) for ticks, duration in self._begin]
        entries = self._entries if len(self._entries) <= _KEPT else []
        return Extent(
            int(times[0]) * base,
            end * base,
            len(self._times),
            self._size,
            step * base,
            begin,
            self._timed,
            entries,
            base,
        )
