"""What a rating states of a file: rates, codecs, shapes and light."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_synth import TICK, numbers, picture, steady, tone, write_clip

from mllm_avqa import media
from mllm_avqa.evidence import measure
from mllm_avqa.media import DecodeSpec, MediaReader
from mllm_avqa.media.light import sdr_levels
from mllm_avqa.model.views import make_views
from mllm_avqa.schema.card import ViewSpec


def write(
    path: Path, codec: str, count: int = 10, rate: int = 25, aspect: Fraction | None = None, **context: object
) -> Path:
    size = context.pop("size", (320, 180))
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=context.pop("options", {}))
        stream.width, stream.height = size
        stream.pix_fmt = context.pop("pix_fmt", "yuv420p")
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for number in range(count):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, *size), "rgb24")))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9), Fraction(16, 15), Fraction(2, 1)])
@pytest.mark.parametrize("reader_name", ["pyav", "decord"])
def test_pixels_that_are_not_square(tmp_path: Path, aspect: Fraction, reader_name: str) -> None:
    if reader_name == "decord":
        pytest.importorskip("decord")
    path = write(tmp_path / "a.mp4", "libx264", aspect=aspect)
    clip = media.read_clip(path, reader=reader_name)
    width = round(320 * aspect)
    assert (clip.info.video.width, clip.info.video.height) == (width, 180)
    assert clip.video.frames.shape[1:3] == (180, width)
    assert clip.video.thumbs.shape[2] / clip.video.thumbs.shape[1] == pytest.approx(width / 180, rel=0.02)
    assert numbers(clip.video.thumbs) == list(range(10))
    assert make_views(clip, ViewSpec()).notes["native_size"] == [width, 180]
    (resolution,) = [m for m in measure(clip) if m.name == "resolution"]
    assert f"{width}x180" in resolution.note


def test_an_absurd_aspect_is_not_believed(reader: MediaReader, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", "libx264", aspect=Fraction(200, 1))
    assert reader.probe(path).video.width == 320


def test_frame_rate_of_dv(reader: MediaReader, tmp_path: Path) -> None:
    """The clock of a DV file ticks 60,000 times a second, which FFmpeg states as its average rate."""
    path = write(tmp_path / "a.dv", "dvvideo", count=5, size=(720, 576), aspect=Fraction(16, 15))
    info = reader.probe(path)
    assert (info.video.fps, info.video.codec, info.duration) == (25.0, "dvvideo", pytest.approx(0.2))


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_frame_rates(reader: MediaReader, tmp_path: Path, fps: Fraction, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", "libx264", count=48, rate=fps, options={"preset": "ultrafast"})
    info = reader.probe(path)
    assert info.video.fps == pytest.approx(float(fps), rel=2e-3)
    assert info.duration == pytest.approx(48 / float(fps), abs=1 / float(fps))


def test_rate_of_slides(reader: MediaReader, tmp_path: Path) -> None:
    assert reader.probe(write_clip(tmp_path / "s.mp4", [0, 10 * TICK, 20 * TICK])).video.fps < 1


@pytest.mark.parametrize(
    ("suffix", "video", "audio", "names"),
    [
        ("mp4", "libsvtav1", "libmp3lame", ("av1", "mp3")),
        ("mkv", "libx265", "ac3", ("hevc", "ac3")),
        ("webm", "libvpx-vp9", "libopus", ("vp9", "opus")),
        ("avi", "mpeg4", "libmp3lame", ("mpeg4", "mp3")),
    ],
)
def test_codecs_are_called_by_their_own_names(
    reader: MediaReader, tmp_path: Path, suffix: str, video: str, audio: str, names: tuple[str, str]
) -> None:
    options = {"libsvtav1": {"preset": "12"}, "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"}}
    path = write_clip(
        tmp_path / f"a.{suffix}",
        steady(12),
        codec=video,
        sound=tone(0.4),
        audio_codec=audio,
        options=options.get(video),
    )
    info = reader.probe(path)
    assert (info.video.codec, info.audio.codec) == names


@pytest.mark.parametrize(("trc", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_named_and_tone_mapped(reader: MediaReader, tmp_path: Path, trc: int, name: str) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    path = write(
        tmp_path / "a.mp4",
        "libx265",
        pix_fmt="yuv420p10le",
        color_trc=trc,
        color_primaries=9,
        colorspace=9,
        options=options,
    )
    clip = reader.read_clip(path)
    assert clip.info.video.bit_depth == 10
    assert clip.warnings == [f"HDR ({name}): judged as tone-mapped to SDR, without facts of light and colour"]
    assert numbers(clip.video.thumbs) == list(range(10))
    assert len(np.unique(clip.video.frames)) > 5
    facts = {m.name: m for m in measure(clip)}
    for fact in ("overexposure", "underexposure", "crushed_blacks", "contrast", "colourfulness", "colour_cast"):
        assert facts[fact].value is None
        assert facts[fact].severity == "none"


def test_tone_curves() -> None:
    """Published: ITU-R BT.2408 table 1: reference white (203 cd/m2) lies at 58 % of PQ and at 75 % of HLG."""
    for transfer, white in (("smpte2084", 0.58), ("arib-std-b67", 0.75)):
        levels = sdr_levels(transfer)
        assert (np.diff(levels.astype(int)) >= 0).all()
        assert (levels[0], levels[-1]) == (0, 255)
        assert 235 <= levels[round(white * 65535)] <= 250


def test_a_damaged_late_window_stays_within_its_file(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", steady(100, 10), size=(96, 64), options={"g": "10"})
    clip = reader.read_clip(path, DecodeSpec(start=9.5))
    assert clip.end == pytest.approx(10.0, abs=0.1)
    assert len(clip.video.thumbs) == 5
