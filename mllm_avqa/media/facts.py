"""Stream facts of an opened container: what it declares, checked against the first decoded frame of each stream."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mllm_avqa.media.cutoff import cut_off
from mllm_avqa.media.opening import STILL_FORMATS, check_pixels, check_regular, show
from mllm_avqa.media.orientation import Orientation, from_display_matrix
from mllm_avqa.media.packets import attempt, decode, read_packets
from mllm_avqa.schema.clip import AudioInfo, Limits, MediaInfo, VideoInfo
from mllm_avqa.schema.errors import MediaTooLarge, NoUsableStream, TruncatedMedia, UnsupportedCodec

if TYPE_CHECKING:
    from av.container import InputContainer

_MAX_TRIES = 300  # packets of one stream that may fail before it counts as undecodable
_LOOK_AHEAD = 30.0  # seconds of media searched for the first frame of the other stream
_COUNTED = 60.0  # seconds of packets that are counted where no bit rate is declared
_TRANSFERS = {1: "bt709", 6: "smpte170m", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}  # fmt: skip  # noqa: E501
_COVER = 0x400 | 0x800  # AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS


@dataclass
class Facts:
    """What later steps need to know. Stream indices are None where there is nothing usable; `absent` says why."""

    info: MediaInfo
    origin: Fraction  # seconds on the container's clock that are 0 on the clip's
    video: int | None
    audio: int | None
    orientation: Orientation = field(default_factory=Orientation)
    absent: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def read_facts(container: InputContainer, path: str, limits: Limits) -> Facts:
    """Facts of the best video and audio stream.

    Raises:
        UnsupportedCodec, NoUsableStream, TruncatedMedia: nothing can be decoded, for that reason.
        MediaTooLarge: frames or duration beyond `limits`.
    """
    absent: dict[str, str] = {}
    video, audio = _choose(container, "video", absent), _choose(container, "audio", absent)
    cut = cut_off(path)
    if video is not None:
        check_pixels(path, video.codec_context.width, video.codec_context.height, limits)
        prepare(video, limits, threads=1)
    chosen = [stream for stream in (video, audio) if stream is not None]
    first = _first_frames(container, chosen)
    for stream in chosen:
        if stream.index not in first and not (stream is audio and stream.start_time is not None and first):
            absent[stream.type] = f"no {stream.type} frame could be decoded (codec {stream.codec_context.name})"
    video, audio = (None if s is not None and s.type in absent else s for s in (video, audio))
    if video is None and audio is None:
        _nothing(container, path, absent, cut)
    still = container.format.name in STILL_FORMATS
    starts = {s.index: _start(s, first.get(s.index)) for s in (video, audio) if s is not None}
    origin = min(starts.values())
    ends = {index: _end(container, container.streams[index]) for index in starts}
    end = None if still else _file_end(container, [e for e in ends.values() if e is not None])
    if end is None and not still:
        end = _last_time(container, [s for s in (video, audio) if s is not None])
    duration = 0.0 if still else max(0.0, float((end or origin) - origin))
    if duration > limits.max_duration:
        raise MediaTooLarge(
            f"{show(path)}: {duration:.1f} s long, at most {limits.max_duration:g} s are allowed (--max-duration)"
        )
    orientation = Orientation()
    info = MediaInfo(
        path=show(path),
        container=container.format.name,
        size_bytes=check_regular(path).st_size,
        duration=duration,
        subtitle_streams=len(container.streams.subtitles),
        metadata={str(k): str(v) for k, v in container.metadata.items()},
    )
    if video is not None:
        frame = first[video.index]
        orientation = _orientation(frame)
        span = _relative(starts[video.index], ends[video.index], origin)
        info.video = _video_info(video, frame, orientation, span, still)
    if audio is not None:
        span = _relative(starts[audio.index], ends[audio.index], origin)
        info.audio = _audio_info(audio, first.get(audio.index), span)
    indices = [None if s is None else s.index for s in (video, audio)]
    return Facts(info, origin, indices[0], indices[1], orientation, absent, cut)


def prepare(stream: Any, limits: Limits, threads: int) -> None:
    """Sets up a video decoder before its first packet; FFmpeg then also refuses frames that grow midway."""
    stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = "AUTO"


def _choose(container: InputContainer, kind: str, absent: dict[str, str]) -> Any:
    streams = [s for s in container.streams if s.type == kind]
    real = [s for s in streams if not int(s.disposition) & _COVER]
    usable = [s for s in real if s.codec_context is not None]  # None: no decoder for it
    if usable:
        best = container.streams.best(kind)  # type: ignore[arg-type]
        return best if best in usable else usable[0]
    if real:
        absent[kind] = f"the {kind} stream's codec is not supported"
    else:
        absent[kind] = f"the file has no {kind} stream" + (" (cover art is not video)" if streams else "")
    return None


def _first_frames(container: InputContainer, streams: list[Any]) -> dict[int, Any]:
    """First decodable frame of each stream by stream index; streams that give none are missing."""
    found: dict[int, Any] = {}
    tries = {stream.index: 0 for stream in streams}
    begun: Fraction | None = None
    for packet in read_packets(container, streams, lambda: None) if streams else ():
        index = packet.stream.index
        if index not in found and tries[index] < _MAX_TRIES:
            tries[index] += 1
            if frames := decode(packet, lambda: None):
                found[index] = frames[0]
        if all(s.index in found or tries[s.index] >= _MAX_TRIES for s in streams):
            break
        if packet.dts is not None:
            now = packet.dts * packet.time_base
            begun = now if begun is None else begun
            if found and now - begun > _LOOK_AHEAD:
                break
    return found


def _nothing(container: InputContainer, path: str, absent: dict[str, str], cut: bool) -> None:
    kinds = {s.type for s in container.streams if s.type in ("video", "audio") and not int(s.disposition) & _COVER}
    reasons = "; ".join(absent.values())
    if not kinds:
        raise NoUsableStream(f"{show(path)}: {reasons}")
    if all("not supported" in absent[kind] for kind in kinds):
        raise UnsupportedCodec(f"{show(path)}: {reasons} by this build of FFmpeg; convert the file to H.264 and AAC")
    if cut:
        raise TruncatedMedia(f"{show(path)} is cut off and nothing of it can be decoded: {reasons}")
    raise NoUsableStream(f"{show(path)}: {reasons}")


def _start(stream: Any, frame: Any) -> Fraction:
    for ticks in (frame and frame.pts, stream.start_time, frame and frame.dts):
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


def _last_time(container: InputContainer, streams: list[Any]) -> Fraction | None:
    """End of the last packet, for files that do not declare a duration: needs reading, but no decoding, to the end."""
    ends = []
    for packet in read_packets(container, streams, lambda: None):
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is not None:
            ends.append((ticks + (packet.duration or 0)) * packet.time_base)
            ends = [max(ends)]
    return ends[0] if ends else None


def count_bits(container: InputContainer, facts: Facts) -> None:
    """Fill in bit rates that are not declared (Matroska, MPEG-TS) from the size of the packets, without decoding."""
    told = ((facts.video, facts.info.video), (facts.audio, facts.info.audio))
    silent = {k: info for k, info in told if k is not None and info is not None and info.bitrate is None}
    if not silent or (facts.info.video is not None and facts.info.video.still):
        return
    attempt(lambda: container.seek(0), lambda: None)  # raw streams refuse, and have no times either
    size = dict.fromkeys(silent, 0)
    first: dict[int, Fraction] = {}
    last: dict[int, Fraction] = {}
    for packet in read_packets(container, [container.streams[k] for k in silent], lambda: None):
        index, ticks = packet.stream.index, packet.dts if packet.dts is not None else packet.pts
        if ticks is None:
            continue
        size[index] += packet.size
        first.setdefault(index, ticks * packet.time_base)
        last[index] = (ticks + (packet.duration or 0)) * packet.time_base
        if last[index] - first[index] > _COUNTED:
            break
    for index, info in silent.items():
        if index in first and last[index] > first[index]:
            info.bitrate = round(size[index] * 8 / float(last[index] - first[index]))


def _relative(start: Fraction, end: Fraction | None, origin: Fraction) -> tuple[float, float | None]:
    return float(start - origin), None if end is None else max(0.0, float(end - start))


def _orientation(frame: Any) -> Orientation:
    from av.sidedata.sidedata import Type

    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    return Orientation() if matrix is None else from_display_matrix(np.frombuffer(bytes(matrix), "<i4"))


def _video_info(stream: Any, frame: Any, turn: Orientation, span: tuple[float, float | None], still: bool) -> VideoInfo:
    width, height = turn.size(frame.width, frame.height)
    rate = stream.average_rate
    return VideoInfo(
        codec=stream.codec_context.name,
        width=width,
        height=height,
        rotation=turn.degrees,
        fps=None if still or not rate else float(rate),
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        bitrate=_bitrate(stream),
        start=span[0],
        duration=None if still else span[1],
        color_transfer=_TRANSFERS.get(int(frame.color_trc)),
        interlaced=bool(frame.interlaced_frame),
        still=still,
    )


def _audio_info(stream: Any, frame: Any, span: tuple[float, float | None]) -> AudioInfo:
    # A decoded frame knows better: HE-AAC declares half its real rate.
    source = frame if frame is not None else stream.codec_context
    return AudioInfo(
        codec=stream.codec_context.name,
        sample_rate=source.sample_rate,
        channels=source.layout.nb_channels,
        bitrate=_bitrate(stream),
        start=span[0],
        duration=span[1],
    )


def _bitrate(stream: Any) -> int | None:
    tag = stream.metadata.get("BPS", "")
    return stream.codec_context.bit_rate or (int(tag) if tag.isdecimal() and int(tag) else None)
