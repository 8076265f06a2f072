"""One window of a file: a scan of its packets decides what is kept, then a single pass decodes it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from mllm_avqa.media.facts import Facts
from mllm_avqa.media.packets import Clock, Continuous, PacketEntry, PacketLog, attempt, decode, read_packets, seconds
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.plan import Run, plan_runs
from mllm_avqa.media.soundtrack import Soundtrack
from mllm_avqa.media.streams import prepare
from mllm_avqa.media.survey import lasting
from mllm_avqa.schema.clip import DecodeSpec, Limits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet

_PREROLL = Fraction(3, 2)  # seconds decoded before the window: codecs with memory (MP3, Opus, AAC) need some
_INTERLEAVE = 10  # seconds one stream may be stored ahead of the other
_LATE = 20  # seconds; a window that starts later is worth a seek
_SEEKABLE = ("mov,mp4", "matroska")  # others land late, or where the bit rate suggests
_STRAYS = 50  # packets in a row that must lie beyond the window before reading stops: one stamp may be damaged


@dataclass
class DecodedWindow:
    """What to decode. `start` and `end` are seconds of the clip, `low` and `high` ticks of the video stream."""

    start: Fraction
    end: Fraction
    seek: bool = False
    low: int = 0
    high: int = 0
    begin: PacketEntry | None = None  # the packet that video decoding begins with; None: the first one
    runs: list[Run] = field(default_factory=list)  # empty: no picture falls into the window
    pictures: int = 0  # that the packets promise
    primed: bool = False  # decode the file's first packet before `begin`: it carries what later ones rely on

    @classmethod
    def of(cls, spec: DecodeSpec, container_format: str) -> DecodedWindow:
        start = exact(spec.start)
        seek = start > _LATE and container_format.startswith(_SEEKABLE)
        return cls(start, start + exact(spec.duration), seek)


def exact(seconds: float) -> Fraction:
    """1.1 means 11/10: the nearest double is a little more, and would lose a frame that starts exactly there."""
    return Fraction(seconds).limit_denominator(1_000_000)


def read_plan(container: InputContainer, facts: Facts, window: DecodedWindow, spec: DecodeSpec) -> bool:
    """`plan_video` from the packets of a freshly opened container, where a survey did not keep them."""
    assert facts.video is not None
    stream = container.streams[facts.video]
    if not _go(container, stream, facts, window):
        return False
    clock = Clock(stream)
    packets = read_packets(container, [stream], clock=Continuous(container, facts.shifts, facts.until, facts.held))
    return plan_video((PacketEntry.of(packet, clock) for packet in packets), clock.base, facts, window, spec)


def plan_video(
    packets: Iterable[PacketEntry], base: Fraction, facts: Facts, window: DecodedWindow, spec: DecodeSpec
) -> bool:
    """Fills in the video part of `window` from the packets of its stream, in file order, with ticks of `base` seconds.

    Returns:
        False if a seek landed after the first frame wanted, so that the file has to be read in order.
    """
    low, high = (ceil((t + facts.origin) / base) for t in (window.start, window.end))
    log, more = PacketLog(), False
    for entry in packets:
        log.add(entry, low)
        if entry.dts >= high:
            more = True  # decoding times never exceed presentation times: nothing of the window can follow
            break
    times = log.shown(low, high)
    if not times:
        return not window.seek
    step = int(np.median(np.diff(times))) if len(times) > 1 else 1
    last = times[-1] + max(1, *(lasting(entry.duration, step) for entry in log.entries if entry.pts == times[-1]))
    if times[0] < low and not more and not _on_screen(facts, last * base - facts.origin, window.start):
        return True  # the video has ended before
    # A single frame that came earlier and is still on screen counts as the window's only one.
    window.low, window.high = (low, high) if times[0] >= low else (times[0], times[0] + 1)
    window.begin = log.decoding_start(window.low, window.high)
    if window.seek and window.begin is None:
        return False
    end = high if more else min(high, last)
    window.runs = plan_runs(times, end, spec.segments, spec.frames_per_segment)
    window.pictures = len(times)
    # x264 before build 152 coded 4:4:4 in its own way and says so in the first packet only.
    window.primed = window.begin is not None and facts.primed
    return True


def _on_screen(facts: Facts, last: Fraction, time: Fraction) -> bool:
    """Is a picture still shown at `time`, if the last packet says that its own ends at `last`?"""
    video = facts.info.video
    if video is None or video.still:
        return video is not None
    return time < max(last, Fraction(video.start + (video.duration or 0.0)))


class Decoding:
    """Feeds one pass over the packets of a freshly opened container into `pictures` and `sound`."""

    def __init__(
        self, facts: Facts, window: DecodedWindow, limits: Limits, pictures: Pictures | None, sound: Soundtrack | None
    ) -> None:
        self._facts, self._window, self._limits = facts, window, limits
        self._pictures, self._sound = pictures, sound
        self._waiting = window.begin is not None
        self._clock: Clock | None = None
        self._linear = facts.info.audio is not None and facts.info.audio.codec.startswith("pcm")
        self._audible: tuple[int, int] = (0, 0)  # ticks of the sound: where decoding begins, where the window ends

    def run(self, container: InputContainer) -> None:
        """Decodes the window."""
        facts, end = self._facts, self._window.end + self._facts.origin
        pending: dict[int, Any] = {}
        if self._pictures is not None and facts.video is not None:
            video = pending[facts.video] = container.streams[facts.video]
            prepare(video, self._limits, min(self._limits.max_threads, cores()))
            self._clock = Clock(video)
        if self._sound is not None and facts.audio is not None:
            pending[facts.audio] = container.streams[facts.audio]
        if not pending:
            return
        streams, strays = list(pending.values()), 0
        beyond = {index: floor((end + _INTERLEAVE) / stream.time_base) for index, stream in pending.items()}
        if facts.audio in pending:
            first, base = self._window.start - _PREROLL + facts.origin, pending[facts.audio].time_base
            self._audible = ceil(first / base), ceil(end / base)
        if self._window.primed:
            self._prime(container, streams[0])
        _go(container, streams[0], facts, self._window)  # where it fails, reading from the beginning is only slower
        unreadable = self._bad_picture if facts.video in pending else self._bad_sound
        clock = Continuous(container, facts.shifts, facts.until, facts.held)
        for packet in read_packets(container, streams, unreadable, clock):
            index = packet.stream.index
            stamp = packet.dts if packet.dts is not None else packet.pts
            strays = strays + 1 if stamp is not None and stamp > beyond[index] else 0
            if index in pending:
                done = self._picture(packet) if index == facts.video else self._hear(packet, stamp)
                if done:
                    self._drain(pending.pop(index))
            if not pending or strays > _STRAYS:
                break
        for stream in pending.values():
            self._drain(stream)

    def _prime(self, container: InputContainer, stream: Any) -> None:
        """Shows the decoder the first packet; its picture is not wanted, and the next key packet ends its effect."""
        for packet in read_packets(container, [stream]):
            decode(packet, lambda: None)
            break
        self._window.seek or attempt(lambda: container.seek(0), lambda: None)

    def _picture(self, packet: Packet[Any]) -> bool:
        begin = self._window.begin
        if self._waiting and begin is not None and (packet.pts, packet.dts) != begin.stamp:
            return False
        self._waiting = False
        if packet.is_corrupt:
            self._bad_picture()
        self._show(decode(packet, self._bad_picture))
        return packet.dts is not None and packet.dts >= self._window.high

    def _drain(self, stream: Any) -> None:
        """Frames that a decoder still holds back."""
        if stream.index == self._facts.video:
            if not self._waiting:  # a decoder that was given nothing has nothing
                self._show(decode(stream, self._bad_picture))
        else:
            self._play(decode(stream, self._bad_sound))

    def _show(self, frames: list[Any]) -> None:
        assert self._clock is not None
        assert self._pictures is not None
        for frame in frames:
            ticks = self._clock.ticks(frame)
            if self._window.low <= ticks < self._window.high:
                time = seconds(ticks, self._clock.base, self._facts.origin)
                attempt(partial(self._pictures.add, frame, ticks, time), self._bad_picture)

    def _hear(self, packet: Packet[Any], stamp: int | None) -> bool:
        assert self._sound is not None
        first, stop = self._audible
        if stamp is not None and stamp < first:
            return False
        if packet.is_corrupt and not self._linear:  # of PCM, the last packet is merely short
            self._bad_sound()
        self._play(decode(packet, self._bad_sound))
        return stamp is not None and stamp >= stop

    def _play(self, frames: list[Any]) -> None:
        assert self._sound is not None
        for frame in frames:
            timed = frame.pts is not None and frame.time_base is not None
            time = seconds(frame.pts, frame.time_base, self._facts.origin) if timed else None
            attempt(partial(self._sound.add, frame, time), self._bad_sound)

    def _bad_picture(self) -> None:
        if self._pictures is not None:
            self._pictures.damaged += 1

    def _bad_sound(self) -> None:
        if self._sound is not None:
            self._sound.damaged += 1


def _go(container: InputContainer, stream: Any, facts: Facts, window: DecodedWindow) -> bool:
    """Goes to where `window` wants reading to begin; False if the container refuses."""
    if not window.seek:
        return True
    target = int((window.start - _PREROLL + facts.origin) / stream.time_base)
    failures: list[int] = []
    attempt(lambda: container.seek(target, stream=stream), lambda: failures.append(1))
    return not failures


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
