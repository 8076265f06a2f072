"""Stream facts of a file: what its packets bear out, and the first decoded frame of each stream."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mllm_avqa.media.boxes import movie_of
from mllm_avqa.media.cutoff import counts_frames, cut_off, follows
from mllm_avqa.media.light import HDR
from mllm_avqa.media.locks import encryption
from mllm_avqa.media.opening import STILL_FORMATS, check_pixels, check_regular, open_media, show, too_many_frames
from mllm_avqa.media.orientation import Orientation, of_frame
from mllm_avqa.media.packets import PacketEntry
from mllm_avqa.media.streams import choose, first_frames, nothing_usable, prepare
from mllm_avqa.media.survey import MAX_BYTES, Extent, Survey, survey
from mllm_avqa.schema.clip import AudioInfo, Limits, MediaInfo, VideoInfo
from mllm_avqa.schema.errors import (
    EncryptedMedia,
    MediaTooLarge,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from av.container import InputContainer

_PRIMED = frozenset({"aac", "mp3", "mp2", "opus", "vorbis", "ac3", "eac3"})
_PRIMING = 3200  # samples of nothing that these may put before the sound, where no edit list hides them
_LEAST_PRIMING = 256
_RATES = (2_000, 768_000)  # Hz that sound may have
_SQUARE = 5  # pixels more oblong than 5:1 are a broken header
_ABSURD = 3.0  # an average rate further off the counted one is an artefact of the clock
_TRANSFERS = {1: "bt709", 6: "smpte170m", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}  # fmt: skip  # noqa: E501
# Where a header tells the duration; others have it estimated from the first bit rate, or from the last page.
_DECLARED = ("matroska", "flv", "asf", "flac", "aiff", "caf", "mxf", "nut", "ape", "tta", "w64", "au")


@dataclass
class Facts:
    """What later steps need to know. Stream indices are None where there is nothing usable; `absent` says why."""

    info: MediaInfo
    origin: Fraction  # seconds on the container's clock that are 0 on the clip's
    video: int | None
    audio: int | None
    orientation: Orientation = field(default_factory=Orientation)
    shape: tuple[int, int] | None = None  # width and height with square pixels, before the turn; None: as stored
    absent: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    shifts: tuple[float, ...] = ()  # see `packets.Continuous`
    packets: list[PacketEntry] = field(default_factory=list)  # of the video stream; empty: not kept
    base: Fraction = Fraction(1)  # seconds of their ticks
    primed: bool = False  # the first packet of the video holds what later ones rely on
    held: tuple[int, int] = (0, 0)  # see `packets.Continuous`
    until: int | None = None  # byte at which another file begins, joined to this one
    warnings: list[str] = field(default_factory=list)


def read_facts(path: str, limits: Limits) -> Facts:
    """Facts of the best video and audio stream: one pass for a frame of each, one over all packets for the lengths.

    Raises:
        EncryptedMedia, UnsupportedCodec, UnsupportedFormat, NoUsableStream, TruncatedMedia: nothing can be decoded.
        MediaTooLarge: frames or duration beyond `limits`.
    """
    size = check_regular(path).st_size
    if size and (lock := encryption(path)):
        raise EncryptedMedia(f"{show(path)} is encrypted ({lock}); only a decrypted copy can be rated")
    with open_media(path, limits) as container:
        facts = _Reading(container, path, limits)
        surveyed = Survey()
        if size <= MAX_BYTES and not facts.still:
            with open_media(path, limits) as again:
                streams = [again.streams[index] for index in facts.chosen if index < len(again.streams)]
                surveyed = survey(again, streams, facts.until, facts.most)
        return facts.finish(surveyed)


class _Reading:
    """The facts of one opened container, first without and then with a survey of its packets."""

    def __init__(self, container: InputContainer, path: str, limits: Limits) -> None:
        self._container, self._path, self._limits = container, path, limits
        self._absent: dict[str, str] = {}
        self._cut = cut_off(path)
        movie = movie_of(path)
        if movie is not None and not movie.tracks and movie.primary_kind in ("grid", "iovl", "iden", "tmap"):
            raise UnsupportedFormat(f"{show(path)}: pictures of tiles or layers ({movie.brand}) are not supported")
        video, audio = (choose(container, kind, self._absent, movie) for kind in ("video", "audio"))
        if video is not None:
            check_pixels(path, video.codec_context.width, video.codec_context.height, limits)
            prepare(video, limits, threads=1)
        streams = [stream for stream in (video, audio) if stream is not None]
        self._first = first = first_frames(container, streams)
        for s in streams:
            if s.index not in first and not (s is audio and s.start_time is not None and first):
                self._absent[s.type] = f"no {s.type} frame could be decoded (codec {s.codec_context.name})"
        if audio is not None and "audio" not in self._absent:
            rate = (first.get(audio.index) or audio.codec_context).sample_rate
            if not _RATES[0] <= rate <= _RATES[1]:
                self._absent["audio"] = f"a sample rate of {rate} Hz is not usable ({_RATES[0]} to {_RATES[1]} Hz are)"
        self._video, self._audio = (None if s is not None and s.type in self._absent else s for s in (video, audio))
        if self._video is None and self._audio is None:
            nothing_usable(container, path, self._absent, bool(self._cut))
        self.still = container.format.name in STILL_FORMATS or (
            movie is not None and movie.primary is not None and not movie.tracks
        )
        self.until = None if self.still or check_regular(path).st_size > MAX_BYTES else follows(path)
        # A picture that moves costs by its frames: each may take a few bytes and a few microseconds to show.
        self.most = limits.max_frames if container.format.name in ("gif", "apng") else None
        self.chosen = [s.index for s in (self._video, self._audio) if s is not None]

    def finish(self, surveyed: Survey) -> Facts:
        """The facts, with lengths, rates and bit rates as the packets have them."""
        container, first = self._container, self._first
        if self.most is not None and any(e.count > self.most for e in surveyed.extents.values()):
            raise too_many_frames(self._path, self._limits)
        starts = {i: _start(container.streams[i], first.get(i)) for i in self.chosen}
        held = self._held(starts, surveyed)
        origin = self._origin(starts, surveyed)
        starts = {i: max(start, origin) for i, start in starts.items()}
        declared = {i: _end(container, container.streams[i]) for i in self.chosen}
        ends = {
            i: _borne_out(declared[i], surveyed.extents.get(i))
            if i in surveyed.extents or not surveyed.extents
            else None
            for i in self.chosen  # a stream without a packet has no end, whatever it declares
        }
        told = _file_end(container, [e for e in declared.values() if e is not None])
        end = max((e for e in ends.values() if e is not None), default=told)
        duration = 0.0 if self.still else max(0.0, float((end if end is not None else origin) - origin))
        if duration > self._limits.max_duration:
            limit = f"at most {self._limits.max_duration:g} s are allowed (--max-duration)"
            raise MediaTooLarge(f"{show(self._path)}: {duration:.1f} s long, {limit}")
        facts = Facts(
            MediaInfo(
                path=show(self._path),
                container=container.format.name,
                size_bytes=check_regular(self._path).st_size,
                duration=duration,
                subtitle_streams=len(container.streams.subtitles),
                metadata={str(k): str(v) for k, v in container.metadata.items()},
            ),
            origin,
            None if self._video is None else self._video.index,
            None if self._audio is None else self._audio.index,
            absent=self._absent,
            cut=bool(self._cut),
            warnings=self._truncation(None if told is None else float(told - origin), duration),
        )
        if (parts := len(surveyed.shifts)) > 1:
            facts.shifts = surveyed.shifts
            facts.warnings.append(f"the clock starts again in the file: its {parts} parts are judged one after another")
        if self.until is not None:
            facts.until = self.until
            facts.warnings.append(f"another file begins at byte {self.until}; what follows is not judged")
        spans = {i: _relative(starts[i], ends[i], origin) for i in self.chosen}
        if self._video is not None:
            index = self._video.index
            if index in surveyed.extents:
                facts.packets, facts.base = surveyed.extents[index].entries, surveyed.extents[index].base
                facts.held = held
                facts.packets = [e.later(held[1]) if e.pts == held[0] else e for e in facts.packets]
            context: Any = self._video.codec_context
            facts.primed = context.name == "h264" and "444" in (context.pix_fmt or "")
            facts.orientation, facts.shape = of_frame(first[index]), None if self.still else _square(self._video)
            facts.info.video = _video_info(
                self._video, first[index], facts, spans[index], surveyed.extents.get(index), self.still
            )
            if name := HDR.get(facts.info.video.color_transfer or ""):
                facts.warnings.append(f"HDR ({name}): judged as tone-mapped to SDR, without facts of light and colour")
        if self._audio is not None:
            index = self._audio.index
            facts.info.audio = _audio_info(self._audio, first.get(index), spans[index], surveyed.extents.get(index))
        return facts

    def _held(self, starts: dict[int, Fraction], surveyed: Survey) -> tuple[int, int]:
        """The first picture's ticks, and by how many it comes too early; moves its start in both.

        FFmpeg's fragments without an edit list begin all streams at once: the first picture is held while the sound
        decoder is primed.
        """
        video, audio = self._video, self._audio
        extent = None if video is None else surveyed.extents.get(video.index)
        if video is None or audio is None or extent is None or not self._container.format.name.startswith("mov,mp4"):
            return 0, 0
        if len(extent.begin) < 3 or audio.index not in self._first or starts[video.index] != starts[audio.index]:
            return 0, 0
        (first, _), (second, _), (third, _) = extent.begin[:3]
        extra = second - first - extent.step
        steady = first == starts[video.index] and abs(third - second - extent.step) <= extent.base
        samples = extra * self._first[audio.index].sample_rate
        primed = audio.codec_context.codec.canonical_name in _PRIMED
        if not (steady and primed and _LEAST_PRIMING <= samples <= _PRIMING):
            return 0, 0
        starts[video.index] += extra
        surveyed.extents[video.index] = replace(extent, first=first + extra)
        return round(first / extent.base), round(extra / extent.base)

    def _origin(self, starts: dict[int, Fraction], surveyed: Survey) -> Fraction:
        """The first picture or sample; but what only primes a sound decoder is no sound, in whatever container."""
        begin = min(starts.values())
        if self._video is not None and self._audio is not None and self._audio.index in self._first:
            picture, extent = starts[self._video.index], surveyed.extents.get(self._audio.index)
            sound = picture - begin if extent is None else extent.before(picture)
            samples = sound * self._first[self._audio.index].sample_rate
            primed = self._audio.codec_context.codec.canonical_name in _PRIMED
            if primed and samples <= _PRIMING and picture - begin <= 1:
                return picture
        return begin

    def _truncation(self, told: float | None, duration: float) -> list[str]:
        if self.still:
            return ["truncated: the picture is incomplete"] if self._cut else []
        if self.until is not None:  # what the file declares may be of both its parts
            return []
        announced = told or 0.0
        if self._cut is None:
            name = self._container.format.name
            if not name.startswith(_DECLARED) and not (name == "mp3" and counts_frames(self._path)):
                return []
            if announced - duration <= max(0.5, 0.01 * announced):
                return []
        elif not self._cut:
            return []
        if announced - duration < 0.1:
            return ["truncated: the end of the file is missing"]
        return [f"truncated: {duration:.1f} s of {announced:.1f} s are there"]


def _borne_out(declared: Fraction | None, extent: Extent | None) -> Fraction | None:
    """A declared end that the packets bear out knows of padding; any other is only a claim."""
    if extent is None or (
        declared is not None and abs(declared - extent.end) <= max(extent.step * 3 / 2, Fraction(1, 10))
    ):
        return declared
    return extent.end


def _start(stream: Any, frame: Any) -> Fraction:
    known: tuple[Any, ...] = (frame and frame.pts, stream.start_time, frame and frame.dts)
    if stream.codec_context.name.startswith("wma"):  # its decoder swallows the first packets
        known = (stream.start_time, *known)
    for ticks in known:
        if ticks is not None:
            return Fraction(ticks) * (frame.time_base if frame is not None and frame.time_base else stream.time_base)
    return Fraction(0)


def _end(container: InputContainer, stream: Any) -> Fraction | None:
    """Where a stream's last frame ends, on the container's clock."""
    if stream.duration is not None:
        return Fraction(stream.duration + (stream.start_time or 0)) * stream.time_base
    # Matroska writes it as a tag, and as a point in time rather than as a length.
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "").strip("\0 "))
    if match and "matroska" in container.format.name:
        hours, minutes, seconds = match.groups()
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    return None


def _file_end(container: InputContainer, ends: list[Fraction]) -> Fraction | None:
    if ends:
        return max(ends)
    if not container.duration or container.duration <= 0:
        return None
    offset = 0 if "matroska" in container.format.name else (container.start_time or 0)
    return Fraction(container.duration + offset, 1_000_000)


def _relative(start: Fraction, end: Fraction | None, origin: Fraction) -> tuple[float, float | None]:
    return float(start - origin), None if end is None else max(0.0, float(end - start))


def _square(stream: Any) -> tuple[int, int] | None:
    """Width and height that show `stream` with square pixels; None if it has them already."""
    aspect, context = stream.sample_aspect_ratio, stream.codec_context
    if not aspect or aspect == 1 or not 1 / _SQUARE <= aspect <= _SQUARE:
        return None
    return max(1, round(context.width * aspect)), context.height


def _fps(stream: Any, extent: Extent | None) -> float | None:
    average, guessed = (float(rate) if rate else 0.0 for rate in (stream.average_rate, stream.guessed_rate))
    counted = extent.rate if extent is not None else None
    if extent is not None and not extent.timed:
        return guessed or average or None
    for rate in (average, guessed):
        if rate and (counted is None or 1 / _ABSURD < rate / counted < _ABSURD):
            return rate
    return counted


def _video_info(
    stream: Any, frame: Any, facts: Facts, span: tuple[float, float | None], extent: Extent | None, still: bool
) -> VideoInfo:
    width, height = facts.orientation.size(*(facts.shape or (frame.width, frame.height)))
    return VideoInfo(
        codec=stream.codec_context.codec.canonical_name,
        width=width,
        height=height,
        rotation=facts.orientation.degrees,
        fps=None if still else extent.rate if extent and facts.held[1] else _fps(stream, extent),
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        bitrate=_bitrate(stream, extent),
        start=span[0],
        duration=None if still else span[1],
        color_transfer=_TRANSFERS.get(int(frame.color_trc)),
        interlaced=bool(frame.interlaced_frame),
        still=still,
    )


def _audio_info(stream: Any, frame: Any, span: tuple[float, float | None], extent: Extent | None) -> AudioInfo:
    # A decoded frame knows better: HE-AAC declares half its real rate.
    source = frame if frame is not None else stream.codec_context
    return AudioInfo(
        codec=stream.codec_context.codec.canonical_name,
        sample_rate=source.sample_rate,
        channels=source.layout.nb_channels,
        bitrate=_bitrate(stream, extent),
        start=span[0],
        duration=span[1],
    )


def _bitrate(stream: Any, extent: Extent | None) -> int | None:
    """Counted, so that it does not depend on what a container cares to declare."""
    if extent is not None and extent.bitrate:
        return extent.bitrate
    tag = stream.metadata.get("BPS", "")
    return stream.codec_context.bit_rate or (int(tag) if tag.isdecimal() and int(tag) else None)
