"""One window of a file: a scan of its packets decides what is kept, then a single pass decodes it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from mllm_avqa.media.facts import Facts, prepare
from mllm_avqa.media.packets import Clock, Entry, PacketLog, attempt, decode, read_packets, seconds
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.plan import Run, plan_runs
from mllm_avqa.media.soundtrack import Soundtrack
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
class Window:
    """What to decode. `start` and `end` are seconds of the clip, `low` and `high` ticks of the video stream."""

    start: Fraction
    end: Fraction
    seek: bool = False
    low: int = 0
    high: int = 0
    begin: Entry | None = None  # the packet that video decoding begins with; None: the first one
    runs: list[Run] = field(default_factory=list)  # empty: no picture falls into the window

    @classmethod
    def of(cls, spec: DecodeSpec, container_format: str) -> Window:
        start = exact(spec.start)
        seek = start > _LATE and container_format.startswith(_SEEKABLE)
        return cls(start, start + exact(spec.duration), seek)


def exact(seconds: float) -> Fraction:
    """1.1 means 11/10: the nearest double is a little more, and would lose a frame that starts exactly there."""
    return Fraction(seconds).limit_denominator(1_000_000)


def plan_video(container: InputContainer, facts: Facts, window: Window, spec: DecodeSpec) -> bool:
    """Fills in the video part of `window` from the packets of a freshly opened container; decodes nothing.

    Returns:
        False if a seek landed after the first frame wanted, so that the file has to be read in order.
    """
    assert facts.video is not None
    stream = container.streams[facts.video]
    clock = Clock(stream)
    low, high = (ceil((t + facts.origin) / clock.base) for t in (window.start, window.end))
    if not _go(container, stream, facts, window):
        return False
    log, more = PacketLog(clock), False
    for packet in read_packets(container, [stream], lambda: None):
        if packet.size and log.add(packet, low).dts >= high:
            more = True  # decoding times never exceed presentation times: nothing of the window can follow
            break
    times = log.shown(low, high)
    if not times:
        return not window.seek
    last: int = times[-1] + max(1, *(entry.duration for entry in log.entries if entry.pts == times[-1]))
    if times[0] < low and not more and not _on_screen(facts, last * clock.base - facts.origin, window.start):
        return True  # the video has ended before
    # A single frame that came earlier and is still on screen counts as the window's only one.
    window.low, window.high = (low, high) if times[0] >= low else (times[0], times[0] + 1)
    window.begin = log.decoding_start(window.low, window.high)
    if window.seek and window.begin is None:
        return False
    end = high if more else min(high, last)
    window.runs = plan_runs(times, end, spec.segments, spec.frames_per_segment)
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
        self, facts: Facts, window: Window, limits: Limits, pictures: Pictures | None, sound: Soundtrack | None
    ) -> None:
        self._facts, self._window, self._limits = facts, window, limits
        self._pictures, self._sound = pictures, sound
        self._waiting = window.begin is not None
        self._clock: Clock | None = None
        self._audible: tuple[int, int] = (0, 0)  # ticks of the sound: where decoding begins, where the window ends

    def run(self, container: InputContainer) -> bool:
        """Decodes the window; returns True if that took reading to the end of the file."""
        facts, end = self._facts, self._window.end + self._facts.origin
        pending: dict[int, Any] = {}
        if self._pictures is not None and facts.video is not None:
            video = pending[facts.video] = container.streams[facts.video]
            prepare(video, self._limits, min(self._limits.max_threads, cores()))
            self._clock = Clock(video)
        if self._sound is not None and facts.audio is not None:
            pending[facts.audio] = container.streams[facts.audio]
        if not pending:
            return False
        streams, strays = list(pending.values()), 0
        beyond = {index: floor((end + _INTERLEAVE) / stream.time_base) for index, stream in pending.items()}
        if facts.audio in pending:
            first, base = self._window.start - _PREROLL + facts.origin, pending[facts.audio].time_base
            self._audible = ceil(first / base), ceil(end / base)
        _go(container, streams[0], facts, self._window)  # where it fails, reading from the beginning is only slower
        unreadable = self._bad_picture if facts.video in pending else self._bad_sound
        for packet in read_packets(container, streams, unreadable):
            stamp = packet.dts if packet.dts is not None else packet.pts
            strays = strays + 1 if stamp is not None and stamp > beyond[packet.stream_index] else 0
            if packet.stream_index in pending:
                done = self._picture(packet) if packet.stream_index == facts.video else self._hear(packet, stamp)
                if done:
                    del pending[packet.stream_index]
            if not pending or strays > _STRAYS:
                break
        else:
            return True
        if facts.video in pending:
            self._drain(pending[facts.video])
        return False

    def _picture(self, packet: Packet[Any]) -> bool:
        begin = self._window.begin
        if self._waiting and packet.size and begin is not None and (packet.pts, packet.dts) != begin.stamp:
            return False
        self._waiting = False
        if packet.is_corrupt:
            self._bad_picture()
        self._show(decode(packet, self._bad_picture))
        if packet.dts is None or packet.dts < self._window.high:
            return False
        self._drain(packet.stream)
        return True

    def _drain(self, stream: Any) -> None:
        """Frames that the decoder still holds back."""
        self._show(decode(stream, self._bad_picture))

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
        if packet.is_corrupt:
            self._bad_sound()
        for frame in decode(packet, self._bad_sound):
            time = None if frame.pts is None else seconds(frame.pts, frame.time_base, self._facts.origin)
            attempt(partial(self._sound.add, frame, time), self._bad_sound)
        return stamp is not None and stamp >= stop

    def _bad_picture(self) -> None:
        if self._pictures is not None:
            self._pictures.damaged += 1

    def _bad_sound(self) -> None:
        if self._sound is not None:
            self._sound.damaged += 1


def _go(container: InputContainer, stream: Any, facts: Facts, window: Window) -> bool:
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
