"""Other files with the same picture and sound: another codec, another container, black bars and their crop. PyAV only.

Time stamps, text subtitles, sidecars and tags stay; the size of the picture stays except for the bars.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllm_avqa.context.sidecars import find_sidecars
from mllm_avqa.schema.errors import NoUsableStream, UnsupportedCodec

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

    Work = Callable[[InputContainer, OutputContainer], None]

CRF = "12"  # x264: above the point where viewers or measures see a difference
PRESET = "veryfast"
AAC = 320_000  # bit/s
BLOCK = 8  # lines: bars are whole blocks of the old codec, so that its block grid stays where it was
COVER = 1024  # disposition of attached cover art
WRITTEN_TEXT = {"mov_text": ("mp4", "mov"), "subrip": ("matroska",)}  # codecs of text subtitles and where they may go
UNREAD_TEXT = ("dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle", "xsub")  # pictures of text: this project reads none
COLOURS = ("color_range", "color_primaries", "color_trc", "colorspace", "sample_aspect_ratio")


def reencode_aac(source: Path, folder: Path) -> Path:
    """x264 at CRF 12 and AAC at 320 kbit/s, mp4."""
    return _written(source, folder / f"{source.stem}.mp4", lambda box, out: _encoded(box, out, "aac"))


def reencode_pcm(source: Path, folder: Path) -> Path:
    """x264 at CRF 12 and the samples as they are, as floats, mov."""
    return _written(source, folder / f"{source.stem}.mov", lambda box, out: _encoded(box, out, "pcm_f32le"))


def remux(source: Path, folder: Path) -> Path:
    """The same packets in Matroska, or in mp4 where they come from Matroska."""
    ending = "mp4" if source.suffix.lower() in (".mkv", ".webm") else "mkv"
    return _written(source, folder / f"{source.stem}.{ending}", _copied)


def bars(source: Path, folder: Path) -> Path:
    """Black bars above and below, each about an eighth of the height; x264 at CRF 12, the sound's packets copied."""
    bar = _bar(source)
    pad = ("pad", f"iw:ih+{2 * bar}:0:{bar}:black")
    return _written(source, folder / f"{source.stem}.mp4", lambda box, out: _encoded(box, out, "copy", pad))


def bars_cropped(source: Path, folder: Path) -> Path:
    """Bars added, written, read and cut off again: the picture at its own resolution, encoded twice."""
    barred = folder / "barred"
    barred.mkdir()
    crop = ("crop", f"iw:ih-{2 * (bar := _bar(source))}:0:{bar}")
    return _written(
        bars(source, barred), folder / f"{source.stem}.mp4", lambda box, out: _encoded(box, out, "copy", crop)
    )


# Each takes a file and an empty folder and gives the new file. Raises MediaError subclasses.
CHANGES: dict[str, Callable[[Path, Path], Path]] = {
    "reencode_aac": reencode_aac,
    "reencode_pcm": reencode_pcm,
    "remux": remux,
    "bars": bars,
    "bars_cropped": bars_cropped,
}

ON_PICTURE = ("bars", "bars_cropped")  # a file without a picture is not put through these


def _written(source: Path, target: Path, work: Work) -> Path:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(source), metadata_errors="replace") as box, av.open(str(target), "w") as out:
            out.metadata.update(box.metadata)
            work(box, out)
    except (FFmpegError, ValueError) as e:  # PyAV raises ValueError where a container takes no such codec
        raise UnsupportedCodec(f"{source.name} cannot be written as {target.suffix[1:]}: {e}") from e
    for sidecar in find_sidecars(source):
        shutil.copy(sidecar, target.with_name(sidecar.name))
    return target


def _bar(source: Path) -> int:
    """Height of one bar in lines."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(source), metadata_errors="replace") as box:
            video = _streams(box)[0]
    except FFmpegError as e:
        raise UnsupportedCodec(f"{source.name}: {e}") from e
    if video is None:
        raise NoUsableStream(f"{source.name}: no picture to put bars around")
    return BLOCK * max(1, round(int(video.height) / 8 / BLOCK))


def _streams(box: InputContainer) -> tuple[Any, Any, list[Any]]:
    """Picture, sound and text subtitles."""
    video = next((s for s in box.streams.video if not s.disposition & COVER), None)
    audio = box.streams.audio[0] if box.streams.audio else None
    if video is None and audio is None:
        raise NoUsableStream("neither picture nor sound to write again")
    return video, audio, [s for s in box.streams.subtitles if s.codec_context.name not in UNREAD_TEXT]


def _copied(box: InputContainer, out: OutputContainer) -> None:
    video, audio, texts = _streams(box)
    targets = {s.index: out.add_stream_from_template(s) for s in (video, audio) if s is not None}
    targets |= _text_targets(texts, out)
    for packet in box.demux([s for s in (video, audio, *texts) if s is not None]):
        _mux(packet, targets[packet.stream.index], out)


def _encoded(box: InputContainer, out: OutputContainer, codec: str, change: tuple[str, str] | None = None) -> None:
    """Picture through x264 and the filter `change`, sound through `codec` ("copy": its packets), subtitles copied."""
    video, audio, texts = _streams(box)
    encoders: dict[int, _Picture | _Sound] = {}
    if video is not None:
        encoders[video.index] = _Picture(video, out, change)
    copied: dict[int, Any] = {}
    if audio is not None and codec == "copy":
        copied[audio.index] = out.add_stream_from_template(audio)
    elif audio is not None:
        encoders[audio.index] = _Sound(audio, out, codec)
    copied |= _text_targets(texts, out)
    for packet in box.demux([s for s in (video, audio, *texts) if s is not None]):
        encoder = encoders.get(packet.stream.index)
        if encoder is None:
            _mux(packet, copied[packet.stream.index], out)
            continue
        for frame in packet.decode():
            out.mux(list(encoder.packets(frame)))
    for encoder in encoders.values():
        out.mux(list(encoder.packets(None)))


class _Picture:
    """Frames through a filter into x264, with their own times and colours."""

    def __init__(self, source: Any, out: Any, change: tuple[str, str] | None) -> None:
        import av

        known = {f.name for f in av.Codec("libx264", "w").video_formats or ()}
        fitting = source.pix_fmt if source.pix_fmt in known else "yuv420p"
        self.format = "yuv444p" if source.width % 2 or source.height % 2 else fitting
        self.source, self.change = source, change
        self.graph: Any = None
        rate = source.average_rate or Fraction(25)
        self.stream: Any = out.add_stream("libx264", rate=rate, options={"crf": CRF, "preset": PRESET})
        self.stream.thread_count = 1  # the bytes must not depend on the number of cores
        self.stream.codec_context.time_base = source.time_base
        taller = 0 if change is None else int(change[1].split(":")[1].removeprefix("ih"))
        self.stream.width, self.stream.height = source.width, source.height + taller
        self.stream.pix_fmt = self.format
        for name in COLOURS:
            found = getattr(source.codec_context, name)
            if found is not None:
                setattr(self.stream.codec_context, name, found)

    def packets(self, frame: Any) -> Iterator[Packet]:
        """Packets of a frame, or the last ones for None."""
        if frame is None:
            yield from self.stream.encode(None)
            return
        if frame.rotation:
            raise UnsupportedCodec(
                f"the file turns its picture by {frame.rotation} degrees, which is not written again"
            )
        if self.graph is None:
            self._open()
        self.graph.push(frame)
        changed = self.graph.pull()
        changed.pict_type = 0  # x264 chooses the kinds of its frames itself
        yield from self.stream.encode(changed)

    def _open(self) -> None:
        from av.filter import Graph

        self.graph = Graph()
        nodes = [self.graph.add_buffer(template=self.source)]
        if self.change is not None:
            nodes.append(self.graph.add(*self.change))
        nodes += [self.graph.add("format", self.format), self.graph.add("buffersink")]
        self.graph.link_nodes(*nodes).configure()


class _Sound:
    """Samples into a codec, at their own rate and times."""

    def __init__(self, source: Any, out: Any, codec: str) -> None:
        from av.audio.resampler import AudioResampler

        self.stream: Any = out.add_stream(codec, rate=source.rate)
        self.stream.layout = source.layout
        self.stream.time_base = Fraction(1, source.rate)
        if codec == "aac":
            self.stream.bit_rate = AAC
        form = "fltp" if codec == "aac" else "flt"
        self.converter = AudioResampler(format=form, layout=source.layout, rate=source.rate)

    def packets(self, frame: Any) -> Iterator[Packet]:
        """Packets of a frame, or the last ones for None."""
        for piece in self.converter.resample(frame):
            yield from self.stream.encode(piece)
        if frame is None:
            yield from self.stream.encode(None)


def _text_targets(texts: list[Any], out: Any) -> dict[int, Any]:
    """Streams for text subtitles, in the codec that the container takes."""
    targets: dict[int, Any] = {}
    for s in texts:
        if s.codec_context.name not in WRITTEN_TEXT:
            raise UnsupportedCodec(f"subtitles of codec {s.codec_context.name} are not written again")
        codec = next((c for c, into in WRITTEN_TEXT.items() if out.format.name in into), s.codec_context.name)
        stream: Any = out.add_stream(codec)
        targets[s.index] = stream
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\n"  # to open the codec; not written
    return targets


def _mux(packet: Packet, target: Any, out: OutputContainer) -> None:
    """Write a packet to its new stream. The text of mov_text has two bytes of length before it, that of SubRip none."""
    import av

    if packet.dts is None:
        return
    if packet.stream.type == "subtitle":
        data, old, new = bytes(packet), packet.stream.codec_context.name, target.codec_context.name
        text = data[2 : 2 + int.from_bytes(data[:2], "big")] if old == "mov_text" else data
        if not text:  # mov_text fills the time between cues with empty ones
            return
        made = av.Packet(len(text).to_bytes(2, "big") + text if new == "mov_text" else text)
        made.pts, made.dts, made.duration, made.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
        packet = made
    packet.stream = target
    out.mux(packet)
