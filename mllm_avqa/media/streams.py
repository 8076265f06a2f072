"""Which streams of a file are its picture and its sound, and whether they can be decoded at all."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mllm_avqa.media.boxes import Movie
from mllm_avqa.media.opening import show
from mllm_avqa.media.packets import decode, read_packets
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import NoUsableStream, TruncatedMedia, UnsupportedCodec

if TYPE_CHECKING:
    from av.container import InputContainer

_MAX_TRIES = 300  # packets of one stream that may fail before it counts as undecodable
_LOOK_AHEAD = 30.0  # seconds of media searched for the first frame of the other stream
_COVER = 0x400 | 0x800  # AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS


def prepare(stream: Any, limits: Limits, threads: int) -> None:
    """Sets up a video decoder before its first packet; FFmpeg then also refuses frames that grow midway."""
    stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = "AUTO"


def choose(container: InputContainer, kind: str, absent: dict[str, str], movie: Movie | None) -> Any:
    streams = [s for s in container.streams if s.type == kind]
    real = [s for s in streams if not int(s.disposition) & _COVER]
    if movie is not None:
        real = [s for s in real if _is_main(s, movie)]
    usable = [s for s in real if s.codec_context is not None]  # None: no decoder for it
    if usable:
        best = container.streams.best(kind)  # type: ignore[arg-type]
        return best if best in usable else usable[0]
    if real:
        absent[kind] = f"the {kind} stream's codec is not supported"
    else:
        absent[kind] = f"the file has no {kind} stream" + (" (cover art is not video)" if streams else "")
    return None


def _is_main(stream: Any, movie: Movie) -> bool:
    """Alpha and depth are not the picture, and a film that is also a picture (AVIF) is taken for a film."""
    if movie.tracks:
        is_item = movie.primary is not None and stream.frames == 1 and stream.time_base == 1
        return stream.id not in movie.auxiliary and not is_item
    return movie.primary in (None, stream.id)


def first_frames(container: InputContainer, streams: list[Any]) -> dict[int, Any]:
    """First decodable frame of each stream by stream index; streams that give none are missing."""
    found: dict[int, Any] = {}
    tries = {stream.index: 0 for stream in streams}
    begun: Fraction | None = None
    for packet in read_packets(container, streams) if streams else ():
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
    for stream in streams:  # a file of one frame may need its end to be told
        if stream.index not in found and tries[stream.index] and (frames := decode(stream, lambda: None)):
            found[stream.index] = frames[0]
    return found


def nothing_usable(container: InputContainer, path: str, absent: dict[str, str], cut: bool) -> None:
    kinds = {s.type for s in container.streams if s.type in ("video", "audio") and not int(s.disposition) & _COVER}
    reasons = "; ".join(absent.values())
    if not kinds:
        raise NoUsableStream(f"{show(path)}: {reasons}")
    if all("not supported" in absent[kind] for kind in kinds):
        raise UnsupportedCodec(f"{show(path)}: {reasons} by this build of FFmpeg; convert the file to H.264 and AAC")
    if cut:
        raise TruncatedMedia(f"{show(path)} is cut off and nothing of it can be decoded: {reasons}")
    raise NoUsableStream(f"{show(path)}: {reasons}")
