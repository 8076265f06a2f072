"""Reading packets from files that may be damaged, and choosing where decoding of a window has to begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from errno import ENOMEM
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.frame import Frame
    from av.packet import Packet
    from av.stream import Stream

_BACK, _AHEAD = 1, 60  # seconds; a clock that jumps further back or ahead has started again
_MAX_READ_ERRORS = 100  # in a row; some demuxers report the same unreadable place for ever


def read_packets(
    container: InputContainer,
    streams: list[Any],
    on_error: Callable[[], None] = lambda: None,
    clock: Continuous | None = None,
) -> Iterator[Packet[Any]]:
    """Packets of `streams` in file order, on one continuous clock; read errors are reported and skipped.

    Empty packets are left out: a decoder takes one for the end of the stream. So the caller drains its decoders.
    """
    import av

    failures, clock = 0, clock or Continuous(container)
    while failures <= _MAX_READ_ERRORS:
        try:
            for packet in container.demux(*streams):
                failures = 0
                if packet.size and not clock.beyond(packet):
                    clock.move(packet)
                    yield packet
            return
        except av.error.FFmpegError as error:
            _reraise_memory(error)
            failures += 1
            on_error()
        except IndexError:  # PyAV stumbles, at the end of the file, over streams that appeared on the way
            on_error()
            return


def decode(source: Packet[Any] | Stream, on_error: Callable[[], None]) -> list[Any]:
    """Frames that a packet completes or a stream's decoder still holds back; errors are reported and give none."""
    return attempt(source.decode, on_error) or []  # type: ignore[union-attr]


def attempt(action: Callable[[], Any], on_error: Callable[[], None]) -> Any:
    """The result of `action`; what FFmpeg refuses, or PyAV cannot represent, is reported and gives None."""
    import av

    try:
        return action()
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        _reraise_memory(error)
        on_error()
        return None


def _reraise_memory(error: Any) -> None:
    if getattr(error, "errno", None) == ENOMEM:
        raise MemoryError("FFmpeg ran out of memory") from error


def seconds(ticks: int, base: Fraction, origin: Fraction) -> float:
    """`float(ticks * base - origin)`; whole numbers are several times faster than fractions and round as exactly."""
    scale = base.denominator * origin.denominator
    return (ticks * base.numerator * origin.denominator - origin.numerator * base.denominator) / scale


class Continuous:
    """Moves the times of packets where a file's clock starts again (joined recordings): one part follows the other.

    MP4 is not looked at: it cannot be joined byte by byte, and its edit lists may well lead back.
    """

    def __init__(
        self,
        container: InputContainer,
        shifts: tuple[float, ...] = (),
        until: int | None = None,
        held: tuple[int, int] = (0, 0),
    ) -> None:
        """shifts: those that an earlier pass over all streams found; a pass over one would find others.

        until: byte of the file from which packets are left out; None: none is.
        held: time in ticks of the first picture, and ticks by which it comes too early.
        """
        self._held = held
        name = container.format.name
        self._until = until
        self._watched = not name.startswith("mov,mp4")
        self._leaps = name in ("mpegts", "mpeg", "flv")
        self._shifts = [*(shifts or (0.0,))]  # seconds, of each part
        self._part: dict[int, int] = {}
        self._last: dict[int, float] = {}  # decoding time of each stream's last packet, as stored
        self._end = 0.0  # of all packets so far, moved

    @property
    def shifts(self) -> tuple[float, ...]:
        """Seconds that each part of the file is moved by; one part unless the clock started again."""
        return tuple(self._shifts)

    def beyond(self, packet: Packet[Any]) -> bool:
        """Does the packet lie where another file has begun?"""
        return self._until is not None and packet.pos is not None and packet.pos >= self._until

    def move(self, packet: Packet[Any]) -> None:
        """Changes the times of the next packet of the file."""
        if self._held[1] and packet.pts == self._held[0] and packet.stream.type == "video":
            packet.pts += self._held[1]
        ticks = packet.dts if packet.dts is not None else packet.pts
        if not self._watched or ticks is None:
            return
        index, base = packet.stream.index, float(packet.time_base)
        now, last = ticks * base, self._last.get(index)
        self._last[index] = now
        if last is not None and (now < last - _BACK or (self._leaps and now > last + _AHEAD)):
            part = self._part[index] = self._part.get(index, 0) + 1
            if part == len(self._shifts):  # the first stream to arrive there places the part for all
                self._shifts.append(self._end - now)
        shift = self._shifts[self._part.get(index, 0)]
        if shift:
            moved = round(shift / base)
            packet.pts = None if packet.pts is None else packet.pts + moved
            packet.dts = None if packet.dts is None else packet.dts + moved
        self._end = max(self._end, now + shift + (packet.duration or 0) * base)


class Clock:
    """Presentation times in ticks; streams without any (raw elementary streams) are counted at their frame rate."""

    def __init__(self, stream: Stream) -> None:
        self.base: Fraction = stream.time_base or Fraction(1, 1_000_000)
        rate = getattr(stream, "guessed_rate", None) or getattr(stream, "average_rate", None) or Fraction(25)
        self.step = max(1, round(1 / (rate * self.base)))
        self._next = 0
        self.reorder = round(2 / self.base)  # how far decoding order may run ahead of presentation order

    def ticks(self, item: Packet[Any] | Frame) -> int:
        """Time of a packet or frame; call it once for each, in order."""
        value = item.pts if item.pts is not None else item.dts
        ticks = self._next if value is None else value
        # Raw streams tell a duration too, from a tick in their header that need not be a frame's.
        self._next = ticks + ((item.duration or self.step) if value is not None else self.step)
        return ticks


@dataclass(frozen=True)
class PacketEntry:
    """One packet. `stamp` is (pts, dts) as stored, to find it again; `pts` is never missing."""

    stamp: tuple[int | None, int | None]
    pts: int
    dts: int
    key: bool
    discard: bool
    duration: int

    @classmethod
    def of(cls, packet: Packet[Any], clock: Clock) -> PacketEntry:
        pts = clock.ticks(packet)
        dts = packet.dts if packet.dts is not None else pts - clock.reorder
        return cls((packet.pts, packet.dts), pts, dts, packet.is_keyframe, packet.is_discard, packet.duration or 0)

    def later(self, ticks: int) -> PacketEntry:
        """The same packet, shown so many ticks later."""
        return replace(self, stamp=(self.pts + ticks, self.stamp[1]), pts=self.pts + ticks)


@dataclass
class PacketLog:
    """What the packets of one video stream say, in decoding order."""

    entries: list[PacketEntry] = field(default_factory=list)

    def add(self, entry: PacketEntry, forget_before: int) -> None:
        """Notes a packet; what a key frame at or before `forget_before` ticks makes unnecessary is dropped."""
        restart = entry.key and entry.pts <= forget_before and not entry.discard
        if restart and not any(e.pts > forget_before for e in self.entries[-32:]):
            self.entries.clear()
        self.entries.append(entry)

    def shown(self, low: int, high: int) -> list[int]:
        """Sorted distinct presentation times in [low, high); if there are none, the one on screen at `low`."""
        visible = {e.pts for e in self.entries if not e.discard}
        window = sorted(t for t in visible if low <= t < high)
        if window:
            return window
        return [max(earlier)] if (earlier := [t for t in visible if t < low]) else []

    def decoding_start(self, low: int, high: int) -> PacketEntry | None:
        """The last key packet from which every frame of [low, high) decodes; None: begin with the first packet.

        Frames that follow a key packet in the file but precede it on screen refer to what came before it, and an edit
        list may hide the key packet that shown frames need: so a key packet counts only if it comes first both in the
        file and on screen.
        """
        wanted = [at for at, e in enumerate(self.entries) if low <= e.pts < high and not e.discard]
        if not wanted:
            return None
        earliest = min(self.entries[at].pts for at in wanted)
        keys = [e for e in self.entries[: wanted[0] + 1] if e.key and e.pts <= earliest and e.stamp != (None, None)]
        return keys[-1] if keys else None
