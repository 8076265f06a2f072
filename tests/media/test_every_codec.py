"""Every codec, in both orders of the streams, to the end of the file: no frame is lost, on any number of cores."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_synth import numbers, picture, steady, tone, write_clip

from data_recipes.distortions.video_codec import no_real_time
from mllm_avqa.media import DecodeSpec, Limits, MediaReader
from mllm_avqa.media.readers.pyav_reader import PyAVReader

os.environ.setdefault("SVT_LOG", "1")
COUNT, FPS, SIZE = 30, 10, (96, 64)
CODECS = {
    "mp4": [("libx264", "aac"), ("libx265", "aac"), ("mpeg4", "libmp3lame"), ("libsvtav1", "aac")],
    "mkv": [("libx264", "flac"), ("ffv1", "pcm_s16le"), ("mpeg2video", "ac3"), ("mjpeg", "libopus")],
    "webm": [("libvpx", "libopus"), ("libvpx-vp9", "libopus")],
    "wmv": [("wmv2", "wmav2")],
    "avi": [("mpeg4", "libmp3lame")],
    "ts": [("libx264", "aac"), ("mpeg2video", "mp2")],
    "mov": [("prores_ks", "pcm_s16le")],
    "flv": [("libx264", "aac"), ("flv", "libmp3lame")],
    "mpg": [("mpeg2video", "mp2")],
}
FAST = {
    "libx264": {"preset": "ultrafast", "bf": "2"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "4", "auto-alt-ref": "1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
}
FORMATS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
CASES = [(suffix, *pair, first) for suffix, pairs in CODECS.items() for pair in pairs for first in ("video", "audio")]


def write(path: Path, video_codec: str, audio_codec: str, first: str) -> Path:
    """3 s of numbered pictures at 10 per second and a tone; the stream called `first` has index 0."""
    rate = 48000 if audio_codec == "libopus" or path.suffix == ".mxf" else 44100
    fps = 25 if path.suffix in (".mpg", ".mxf") else FPS  # MPEG-2 knows a few rates only
    with av.open(str(path), "w") as out:

        def add_audio():
            return out.add_stream(audio_codec, rate=rate, layout="mono")

        audio = add_audio() if first == "audio" else None
        video = out.add_stream(video_codec, rate=fps, options=FAST.get(video_codec, {}))
        video.width, video.height = SIZE
        video.pix_fmt = FORMATS.get(video_codec, "yuv420p")
        audio = audio or add_audio()
        audio.bit_rate = 64_000
        sound = tone(3.0, rate, 1)
        size = audio.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=audio.codec_context.format, layout="mono", rate=rate, frame_size=size)
        packets = []
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(number, *SIZE), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            packets += video.encode(frame)
            no_real_time()
        packets += video.encode()
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "mono")
        block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), 0
        for part in [*resampler.resample(block), *resampler.resample(None)]:
            packets += audio.encode(part)
        packets += audio.encode()
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            out.mux(packet)
    return path


@pytest.mark.parametrize(("suffix", "video", "audio", "first"), CASES)
def test_all_frames_to_the_end(
    reader: MediaReader,
    tmp_path: Path,
    suffix: str,
    video: str,
    audio: str,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SVT_LOG", "1")
    path = write(tmp_path / f"a.{suffix}", video, audio, first)
    clip = reader.read_clip(path)
    assert numbers(clip.video.thumbs) == list(range(COUNT))
    assert clip.video.damaged == 0
    assert clip.audio.damaged == 0
    assert clip.audio.samples.shape[1] / clip.audio.rate == pytest.approx(3.0, abs=0.1)
    assert clip.warnings == []


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "ffv1"])
def test_threads_lose_no_frame(tmp_path: Path, codec: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mllm_avqa.media.window.cores", lambda: 16)
    path = write(tmp_path / "a.mkv", codec, "libopus", "audio")
    clip = PyAVReader().read_clip(str(path), DecodeSpec(), Limits(max_threads=threads))
    assert numbers(clip.video.thumbs) == list(range(COUNT))


@pytest.mark.parametrize(
    ("codec", "options", "pixel_format"),
    [
        ("libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=1"}, "yuv420p"),
        ("libx264", {"g": "20", "x264-params": "intra-refresh=1"}, "yuv420p"),
        ("libx264", {"bf": "2", "g": "12", "crf": "20"}, "yuv444p"),
        ("libx265", {"preset": "ultrafast", "g": "12", "x265-params": "open-gop=1:log-level=none"}, "yuv420p"),
        ("mpeg4", {"bf": "2", "g": "9"}, "yuv420p"),
        ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "15"}, "yuv420p"),
    ],
)
def test_a_window_equals_a_full_decode(
    reader: MediaReader, tmp_path: Path, codec: str, options: dict[str, str], pixel_format: str
) -> None:
    path = tmp_path / "a.mkv"
    write_clip(path, steady(75, 25), size=(96, 64), codec=codec, options=options, pixel_format=pixel_format)
    whole = reader.read_clip(path, DecodeSpec(segments=1, frames_per_segment=100)).video
    assert numbers(whole.thumbs) == list(range(75))
    for start in (0.4, 1.0, 1.5, 2.6):
        part = reader.read_clip(path, DecodeSpec(start=start, duration=0.4)).video
        first = round(start * 25)
        assert part.damaged == 0
        np.testing.assert_array_equal(part.thumbs, whole.thumbs[first : first + len(part.thumbs)])
        at = [int(np.abs(whole.pts - t).argmin()) for t in part.pts]
        np.testing.assert_array_equal(part.frames, whole.frames[at])


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        ("mkv", "ffv1", "yuv410p"),
        ("mkv", "ffv1", "gray16le"),
        ("mkv", "ffv1", "yuv444p16le"),
        ("mkv", "ffv1", "gbrp16le"),
        ("mkv", "ffv1", "bgra"),
        ("mov", "png", "ya8"),
        ("mov", "png", "rgba64be"),
        ("mov", "qtrle", "argb"),
        ("avi", "rawvideo", "uyvy422"),
        ("avi", "huffyuv", "yuv422p"),
        ("mp4", "libx264", "yuv444p10le"),
        ("mp4", "libx265", "gray12le"),
        ("webm", "libvpx-vp9", "yuv440p"),
    ],
)
def test_pixel_formats(reader: MediaReader, tmp_path: Path, suffix: str, codec: str, pixel_format: str) -> None:
    path, options = tmp_path / f"a.{suffix}", FAST.get(codec, {})
    write_clip(path, steady(5, 25), size=(96, 64), codec=codec, options=options, pixel_format=pixel_format)
    clip = reader.read_clip(path)
    assert numbers(clip.video.thumbs) == numbers(clip.video.frames) == list(range(5))
    assert clip.info.video.pixel_format == pixel_format
    assert (clip.warnings, clip.video.damaged) == ([], 0)


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("flac", "flac")])
def test_channels(reader: MediaReader, tmp_path: Path, suffix: str, codec: str, channels: int) -> None:
    layout = ["mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1"][channels - 1]
    path, rate = tmp_path / f"a.{suffix}", 48000
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        loudness = np.linspace(0.1, 0.8, channels, dtype=np.float32)[:, None]
        sound = loudness * np.sin(2 * np.pi * 200 / rate * np.arange(rate, dtype=np.float32))
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=1024)
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T).reshape(1, -1), "flt", layout)
        block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), 0
        for part in [*resampler.resample(block), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode())
    track = reader.read_clip(path).audio
    assert track.samples.shape == (channels, pytest.approx(rate, abs=1100))
    heard = np.sort(np.sqrt((track.samples[:, 4000:40000] ** 2).mean(1)) * 2**0.5)
    full = heard if channels < 3 or codec == "flac" else heard[1:]  # AAC cuts the one of low frequencies
    np.testing.assert_allclose(full, loudness[:, 0][len(loudness) - len(full) :], rtol=0.3)
