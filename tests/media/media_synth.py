"""Synthesised media: every frame shows its own number as a row of black and white blocks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.subtitles.subtitle import SubtitleSet

from data_recipes.distortions.video_codec import no_real_time

BITS = 8
TICK = 600  # video ticks per second


def picture(number: int, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3]: bit k of `number` is the k-th block from the left; the lower third stays grey."""
    edges = [width * k // BITS for k in range(BITS + 1)]
    image = np.full((height, width, 3), 96, np.uint8)
    for k in range(BITS):
        image[: height * 2 // 3, edges[k] : edges[k + 1]] = 235 if number >> k & 1 else 20
    return image


def number_in(image: np.ndarray) -> int:
    """The number that `picture` drew, from a frame [h, w, 3] or a thumbnail [h, w]."""
    height, width = image.shape[:2]
    edges = [width * k // BITS for k in range(BITS + 1)]
    strip = image[height // 5 : height // 2]
    blocks = [strip[:, (3 * a + b) // 4 : (a + 3 * b) // 4].mean() for a, b in pairwise(edges)]
    return sum(1 << k for k, level in enumerate(blocks) if level > 127)


def numbers(images: np.ndarray) -> list[int]:
    return [number_in(image) for image in images]


def tone(seconds: float, rate: int = 48000, channels: int = 2) -> np.ndarray:
    """float32 [channels, n]: a 440 Hz sine of amplitude 0.5."""
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def write_clip(
    path: Path,
    pts: Sequence[int] | None = None,
    *,
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    rate: int = 48000,
    audio_codec: str = "aac",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes frames 0, 1, 2 ... at `pts` (in 1/TICK s; None: no video) and `sound` [channels, n] at `sound_start` s."""
    with av.open(str(path), "w", options=container_options or {}) as out:
        video = audio = None
        if pts is not None:
            video = out.add_stream(codec, rate=30, options=options or {})
            video.width, video.height = size
            video.pix_fmt = pixel_format
            video.time_base = video.codec_context.time_base = Fraction(1, TICK)
        if sound is not None:
            audio = out.add_stream(audio_codec, rate=rate, layout="stereo" if len(sound) == 2 else "mono")
        for number, tick in enumerate(pts or ()):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, TICK)
            out.mux(video.encode(frame))
            no_real_time()
        if video is not None:
            out.mux(video.encode())
        if audio is not None and sound is not None:
            for at in range(0, sound.shape[1], 1024):
                samples = np.ascontiguousarray(sound[:, at : at + 1024])
                block = av.AudioFrame.from_ndarray(samples, "fltp", audio.layout.name)
                block.sample_rate, block.time_base = rate, Fraction(1, rate)
                block.pts = at + round(sound_start * rate)
                out.mux(audio.encode(block))
            out.mux(audio.encode())
    return path


def steady(count: int, fps: int = 30, start: float = 0.0) -> list[int]:
    return [round(start * TICK) + n * TICK // fps for n in range(count)]


ASS_HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,20\n\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)


def write_subtitles(
    path: Path,
    cues: Sequence[tuple[float, float, str]],
    pts: Sequence[int] = (),
    codec: str = "ass",
    language: str = "",
) -> Path:
    """Writes `cues` (start s, end s, ASS text) as an embedded stream, beside frames 0, 1, 2 ... at `pts` if given."""
    with av.open(str(path), "w") as out:
        video = None
        if pts:
            video = out.add_stream("libx264", rate=30)
            video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, TICK)
        stream = out.add_stream(codec)
        stream.codec_context.subtitle_header = ASS_HEADER
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if language:
            stream.metadata["language"] = language
        for number, tick in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(number, 160, 96), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, TICK)
            out.mux(video.encode(frame))
        for order, (start, end, text) in enumerate(cues):
            event = f"{order},0,Default,,0,0,0,,{text}".encode()
            subtitle = SubtitleSet.create(event, 0, round((end - start) * 1000))
            packet = stream.codec_context.encode_subtitle(subtitle)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round((end - start) * 1000)
            out.mux(packet)
        if video is not None:
            out.mux(video.encode())
    return path
