"""Writing distorted clips to mp4 through PyAV; `read_material` and `photo_material` are the way back (demux.py)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import cv2
import numpy as np

from data_recipes.distortions.base import Caption, Material
from data_recipes.synthesis.demux import photo_material, read_material
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import whole_file

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.subtitles.stream import SubtitleStream
    from av.video.stream import VideoStream

__all__ = ["photo_material", "read_material", "write_clip", "write_still"]

MS = Fraction(1, 1000)
SLICES = 2  # PyAV threads x264 by slices, as many as there are cores unless told: the bytes must not depend on those
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def write_still(path: str | Path, frame: np.ndarray) -> None:
    """One frame, uint8 [h, w, 3] RGB, as PNG."""
    path = Path(path)
    _, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    with whole_file(path) as part:
        part.write_bytes(data.tobytes())


def write_clip(
    path: str | Path,
    material: Material,
    *,
    crf: int = 12,
    preset: str = "veryfast",
    audio: Literal["aac", "flac"] = "aac",
    audio_bitrate: int = 256000,
    subtitles: bool = True,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write frames (H.264, yuv420p), sound and captions (mov_text) as mp4; picture and sound both start at 0.

    The file appears under its name only when it is complete. Odd picture sides get one repeated row or column.
    audio_bitrate is in bit/s and for AAC only. Raises ConfigError when there is neither picture nor sound, or for a
    codec or sample rate that can not be written.
    """
    import av

    path = Path(path)
    if material.frames is None and material.sound is None:
        raise ConfigError(f"{path}: nothing to write, the material has neither picture nor sound")
    if audio not in ("aac", "flac"):
        raise ConfigError(f"audio codec {audio!r} can not be written; allowed: aac, flac (--audio-codec)")
    if material.sound is not None and audio == "aac" and material.rate not in AAC_RATES:
        raise ConfigError(f"AAC can not hold {material.rate} Hz; allowed: {', '.join(map(str, AAC_RATES))} Hz, or flac")
    with whole_file(path) as part, av.open(part, "w", format="mp4") as out:
        out.metadata.update(metadata or {})
        _write_streams(out, material, crf, preset, audio, audio_bitrate, subtitles)


def _write_streams(
    out: OutputContainer, material: Material, crf: int, preset: str, audio: str, audio_bitrate: int, subtitles: bool
) -> None:
    """Open all streams before the first packet (mp4 needs the header), then write packets in order of time."""
    sources: list[Iterator[Packet]] = []
    if material.frames is not None:
        sources.append(_picture(out, material.frames, material.fps, crf, preset))
    if material.sound is not None:
        sources.append(_sound(out, material.sound, material.rate, audio, audio_bitrate))
    if subtitles and material.captions:
        sources.append(_subtitles(out, material.captions))
    waiting = [(next(s, None), s) for s in sources]
    while heads := [(_seconds(p), i) for i, (p, _) in enumerate(waiting) if p is not None]:
        _, i = min(heads)
        packet, source = waiting[i]
        assert packet is not None
        out.mux(packet)
        waiting[i] = (next(source, None), source)


def _seconds(packet: Packet) -> float:
    """Decoding time; packets of the encoders used here always carry one."""
    assert packet.dts is not None
    assert packet.time_base is not None
    return float(packet.dts * packet.time_base)


def _picture(out: OutputContainer, frames: np.ndarray, fps: float, crf: int, preset: str) -> Iterator[Packet]:
    import av

    h, w = frames.shape[1:3]
    rate = Fraction(fps).limit_denominator(1001)
    stream: VideoStream = out.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset})
    stream.thread_count = SLICES
    stream.width, stream.height, stream.pix_fmt = w + w % 2, h + h % 2, "yuv420p"
    stream.time_base = stream.codec_context.time_base = 1 / rate

    def packets() -> Iterator[Packet]:
        for i, array in enumerate(frames):
            if h % 2 or w % 2:
                array = cv2.copyMakeBorder(array, 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame.pts, frame.time_base = i, 1 / rate
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()


def _sound(out: OutputContainer, sound: np.ndarray, rate: int, codec: str, bitrate: int) -> Iterator[Packet]:
    import av

    channels = sound.shape[0]
    if channels not in (1, 2):
        raise ConfigError(f"sound with {channels} channels can not be written; allowed: 1 or 2")
    layout = "mono" if channels == 1 else "stereo"
    stream = cast("AudioStream", out.add_stream(codec, rate=rate))
    stream.layout = layout
    stream.time_base = Fraction(1, rate)
    if codec == "aac":
        stream.bit_rate = bitrate
        data, form = np.ascontiguousarray(sound, dtype=np.float32), "fltp"
    else:
        stream.format = form = "s16"
        clipped = np.clip(sound, -1, 32767 / 32768)
        data = np.ascontiguousarray(np.rint(clipped * 32768).astype(np.int16).T.reshape(1, -1))

    def packets() -> Iterator[Packet]:
        # A second at a time; encode() cuts it into the codec's own frame size.
        for at in range(0, sound.shape[1], rate):
            end = min(at + rate, sound.shape[1])
            piece = data[:, at:end] if form == "fltp" else data[:, at * channels : end * channels]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format=form, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()


def _subtitles(out: OutputContainer, captions: list[Caption]) -> Iterator[Packet]:
    """mov_text packets: two bytes of length and UTF-8 text. The header is needed to open the codec, not used."""
    import av

    stream = cast("SubtitleStream", out.add_stream("mov_text"))
    stream.time_base = MS
    stream.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\n"
    ordered = sorted((c for c in captions if c.end > max(c.start, 0.0) and c.text), key=lambda c: c.start)

    def packets() -> Iterator[Packet]:
        for i, c in enumerate(ordered):
            start = max(c.start, 0.0)
            # mov_text can not overlap: a line ends when the next one begins
            end = min(c.end, ordered[i + 1].start) if i + 1 < len(ordered) else c.end
            text = c.text.encode()[:65535]
            packet = av.Packet(len(text).to_bytes(2, "big") + text)
            packet.stream, packet.time_base = stream, MS
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = max(1, round((end - start) * 1000))
            yield packet

    return packets()
