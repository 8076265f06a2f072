"""How long a file is: what its packets say, whatever its header declares; "truncated" is said of cut files only."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from media_synth import TICK, numbers, picture, steady, tone, write_clip
from PIL import Image
from test_every_codec import write

from mllm_avqa.media import DecodeSpec, MediaReader
from mllm_avqa.media.cutoff import cut_off
from mllm_avqa.schema.errors import EmptyWindow, MediaError, TruncatedMedia
from mllm_avqa.schema.words import translated

FAST = {"preset": "ultrafast", "g": "10"}


def clip(path: Path, seconds: int = 12, **options: object) -> Path:
    return write_clip(path, steady(seconds * 10, 10), size=(96, 64), options=FAST, sound=tone(seconds), **options)  # type: ignore[arg-type]


def halve(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


@pytest.mark.parametrize(
    ("suffix", "told", "options"),
    [
        ("mp4", True, {"movflags": "+faststart"}),
        ("mp4", True, {"movflags": "frag_keyframe+empty_moov"}),
        ("mov", True, {"movflags": "+faststart"}),
        ("mkv", True, {}),
        ("avi", True, {}),
        ("flv", True, {}),
        ("ts", False, {}),
        ("asf", True, {}),
        ("nut", False, {}),
    ],
)
def test_half_of_a_clip(reader: MediaReader, tmp_path: Path, suffix: str, told: bool, options: dict[str, str]) -> None:
    codec = {"avi": "mpeg4", "asf": "mpeg4"}.get(suffix, "libx264")
    path = tmp_path / f"half.{suffix}"
    sound = "libmp3lame" if suffix in ("avi", "asf", "nut") else "aac"
    write_clip(
        path, steady(120, 10), size=(96, 64), codec=codec, sound=tone(12), audio_codec=sound, container_options=options
    )
    info = reader.probe(halve(path))
    assert 3.0 < info.duration < 9.0
    first = reader.read_clip(path, DecodeSpec(duration=2.0))
    assert len(first.video.thumbs) == 20
    last = reader.read_clip(path, DecodeSpec(start=info.duration - 1.0))
    assert last.video is not None or last.audio is not None
    assert any(w.startswith("truncated: ") for w in first.warnings) == told, first.warnings
    with pytest.raises(MediaError):
        reader.read_clip(path, DecodeSpec(start=info.duration + 0.5))


@pytest.mark.parametrize(
    ("suffix", "codec", "told"),
    [
        ("wav", "pcm_s16le", True),
        ("mp3", "libmp3lame", True),
        ("flac", "flac", True),
        ("ogg", "libopus", False),
        ("aac", "aac", False),
        ("mka", "libopus", True),
        ("m4a", "aac", True),
        ("aiff", "pcm_s16be", True),
        ("ac3", "ac3", False),
    ],
)
def test_half_of_a_recording(reader: MediaReader, tmp_path: Path, suffix: str, codec: str, told: bool) -> None:
    options = {"movflags": "+faststart"} if suffix == "m4a" else {}
    path = write_clip(tmp_path / f"half.{suffix}", sound=tone(12), audio_codec=codec, container_options=options)
    whole = reader.probe(path).duration
    assert whole == pytest.approx(12.0, abs=0.1)
    assert reader.read_clip(path).warnings == []
    info = reader.probe(halve(path))
    assert info.duration == pytest.approx(6.0, abs=0.5)
    found = reader.read_clip(path, DecodeSpec(start=4.0))
    assert found.audio.samples.shape[1] / found.audio.rate == pytest.approx(info.duration - 4.0, abs=0.15)
    assert any(w.startswith("truncated: ") for w in found.warnings) == told, found.warnings


def test_nothing_after_the_end(reader: MediaReader, tmp_path: Path) -> None:
    with pytest.raises(EmptyWindow, match=r"no video between 3 and 11 s.*no audio"):
        reader.read_clip(clip(tmp_path / "a.mkv", 2), DecodeSpec(start=3.0))


def test_variable_bit_rate_without_a_header(reader: MediaReader, tmp_path: Path) -> None:
    """Two constant rates, one after the other; FFmpeg takes the first for that of the whole: 3 + 3 s look like 15."""
    pieces = []
    for kbit in (32, 160):
        path = write_clip(
            tmp_path / f"{kbit}.mp3", sound=tone(3.0), audio_codec="libmp3lame", container_options={"write_xing": "0"}
        )
        with (
            av.open(str(path)) as source,
            av.open(str(tmp_path / f"r{kbit}.mp3"), "w", options={"write_xing": "0", "id3v2_version": "0"}) as out,
        ):
            decoded = list(source.decode(audio=0))
            stream = out.add_stream("libmp3lame", rate=48000, layout="stereo")
            stream.bit_rate = kbit * 1000
            for frame in decoded:
                frame.pts = None
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        pieces.append((tmp_path / f"r{kbit}.mp3").read_bytes())
    path = tmp_path / "vbr.mp3"
    path.write_bytes(b"".join(pieces))
    with av.open(str(path)) as container:
        assert container.duration / 1e6 > 9
    info = reader.probe(path)
    assert info.duration == pytest.approx(6.1, abs=0.2)
    assert reader.read_clip(path).warnings == []


def test_a_fragment_from_the_middle(reader: MediaReader, tmp_path: Path) -> None:
    path = tmp_path / "f.mp4"
    write_clip(
        path,
        steady(60, 10),
        size=(96, 64),
        options={**FAST, "sc_threshold": "0"},
        container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    )
    data, pieces, at = path.read_bytes(), [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        pieces.append(data[at : at + length])
        at += length
    names = [piece[4:8] for piece in pieces]
    fragments = [n for n, name in enumerate(names) if name == b"moof"]
    kept = pieces[: fragments[0]] + pieces[fragments[4] : fragments[4] + 2]
    path.write_bytes(b"".join(kept))
    found = reader.read_clip(path)
    assert numbers(found.video.thumbs) == list(range(40, 50))
    assert found.info.duration == pytest.approx(1.0)
    assert found.video.thumb_pts[0] == 0
    assert found.warnings == []


def test_ogg_that_starts_late(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.ogg", sound=tone(2.0), sound_start=30.0, audio_codec="libopus")
    info = reader.probe(path)
    assert info.duration == pytest.approx(2.0, abs=0.05)
    assert reader.read_clip(path).audio.start == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "h264"), ("libx265", "hevc")])
def test_raw_video_is_as_long_as_its_frames(reader: MediaReader, tmp_path: Path, codec: str, suffix: str) -> None:
    path = tmp_path / f"raw.{suffix}"
    with av.open(str(path), "w") as out:
        options = {"bf": "2"} if codec == "libx264" else {"x265-params": "log-level=none"}
        stream = out.add_stream(codec, rate=25, options={"preset": "ultrafast", **options})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(250):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, 96, 64), "rgb24")))
        out.mux(stream.encode())
    info = reader.probe(path)
    assert (info.duration, info.video.fps) == (pytest.approx(10.0), 25.0)
    late = reader.read_clip(path, DecodeSpec(start=8.0))
    assert numbers(late.video.thumbs) == list(range(200, 250))


def test_joined_transport_streams(reader: MediaReader, tmp_path: Path) -> None:
    path = clip(tmp_path / "one.ts", 4)
    path.write_bytes(path.read_bytes() * 3)
    info = reader.probe(path)
    assert info.duration == pytest.approx(12.0, abs=0.4)
    shown = [numbers(reader.read_clip(path, DecodeSpec(start=t, duration=1.0)).video.thumbs) for t in (0.0, 5.0, 9.5)]
    assert [len(s) for s in shown] == [10, 10, 10]
    assert shown[1] == list(range(shown[1][0], shown[1][0] + 10))
    assert 8 <= shown[1][0] <= 11
    warnings = reader.read_clip(path).warnings
    assert "the clock starts again in the file: its 3 parts are judged one after another" in warnings


def test_joined_matroska(reader: MediaReader, tmp_path: Path) -> None:
    path = clip(tmp_path / "one.mkv", 12)
    path.write_bytes(path.read_bytes() * 2)
    assert reader.probe(path).duration == pytest.approx(24.0, abs=0.2)
    late = reader.read_clip(path, DecodeSpec(start=22.0, duration=1.0))
    assert numbers(late.video.thumbs)[:3] == [pytest.approx(n, abs=2) for n in (100, 101, 102)]


def test_ogg_that_is_cut_within_its_header(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.ogg", sound=tone(1.0), audio_codec="libopus")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(TruncatedMedia, match="within its header"):
        reader.probe(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_slides_are_whole(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"s.{suffix}", [0, 10 * TICK, 20 * TICK], sound=tone(1.0))
    for start in (0.0, 8.0, 16.0):
        found = reader.read_clip(path, DecodeSpec(start=start))
        assert found.warnings == []
        assert found.video is not None


def test_sound_sizes_that_a_pipe_could_not_know(reader: MediaReader, tmp_path: Path) -> None:
    plain = write_clip(tmp_path / "a.wav", sound=tone(3.0, channels=1), audio_codec="pcm_s16le").read_bytes()
    at = plain.index(b"data") + 4
    for riff, data in ((0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 0x7FFFFFDB), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0)):
        path = tmp_path / "piped.wav"
        path.write_bytes(plain[:4] + struct.pack("<I", riff) + plain[8:at] + struct.pack("<I", data) + plain[at + 4 :])
        found = reader.read_clip(path)
        assert found.warnings == []
        assert found.audio.damaged == 0
        assert found.info.duration == pytest.approx(3.0, abs=0.01)


def test_bytes_after_the_end_are_no_loss(reader: MediaReader, tmp_path: Path) -> None:
    tails = [b"hello world, this follows", b"\0" * 4096, np.random.default_rng(2).bytes(3000), b"abc"]
    image = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(image, "JPEG")
    png = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(png, "PNG")
    film = write_clip(tmp_path / "a.mp4", steady(10), sound=tone(0.3))
    tails.append(film.read_bytes())  # a motion photo
    for body, suffix in ((image.getvalue(), "jpg"), (png.getvalue(), "png"), (film.read_bytes(), "mp4")):
        for tail in tails[:-1] if suffix == "mp4" else tails:  # a film after a film is another matter
            path = tmp_path / f"tail.{suffix}"
            path.write_bytes(body + tail)
            assert not cut_off(str(path)), (suffix, tail[:10])
            assert reader.read_clip(path).warnings == [], (suffix, tail[:10])
        if suffix != "mp4":
            path.write_bytes(body[:-20])
            assert cut_off(str(path))


def test_a_cut_picture_with_a_thumbnail_inside(reader: MediaReader, tmp_path: Path) -> None:
    """The end-of-image marker of the thumbnail in the EXIF segment is not the picture's."""
    small, big = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (16, 16)).save(small, "JPEG")
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(big, "JPEG", exif=b"Exif\0\0" + small.getvalue(), progressive=True)
    path = tmp_path / "p.jpg"
    path.write_bytes(big.getvalue())
    assert not cut_off(str(path))
    path.write_bytes(big.getvalue()[:-5000])
    assert cut_off(str(path))
    assert reader.read_clip(path).warnings == ["truncated: the picture is incomplete"]


@pytest.mark.parametrize(
    ("suffix", "video", "audio"),
    [
        ("mp4", "libx264", "aac"),
        ("mov", "mjpeg", "pcm_s16le"),
        ("m4a", "", "aac"),
        ("flv", "flv", "libmp3lame"),
        ("avi", "mpeg4", "libmp3lame"),
        ("wmv", "wmv2", "wmav2"),
        ("mxf", "mpeg2video", "pcm_s16le"),
        ("wav", "", "pcm_s16le"),
        ("aiff", "", "pcm_s16be"),
        ("caf", "", "pcm_s16le"),
        ("ivf", "libvpx", ""),
    ],
)
def test_what_a_joined_file_does_not_give_is_said(
    reader: MediaReader, tmp_path: Path, suffix: str, video: str, audio: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    if video and audio:
        write(path, video, audio, "video")
    else:
        sound = tone(1.0, 44100, 1) if audio else None
        write_clip(path, steady(30) if video else None, codec=video, sound=sound, rate=44100, audio_codec=audio)
    once = reader.read_clip(path)
    assert once.warnings == []
    path.write_bytes(path.read_bytes() * 2)
    twice = reader.read_clip(path)
    (warning,) = twice.warnings
    assert re.fullmatch(rf"another file begins at byte {path.stat().st_size // 2}; what follows is not judged", warning)
    assert re.search("[a-z]{3}", translated(warning, "zh")) is None
    assert twice.info.duration == pytest.approx(once.info.duration, abs=0.05)
    for one, two in ((once.video, twice.video), (once.audio, twice.audio)):
        assert (one is None) == (two is None)
    if once.video is not None:
        np.testing.assert_array_equal(twice.video.thumbs, once.video.thumbs)
    if once.audio is not None:
        np.testing.assert_array_equal(twice.audio.samples[:, :40000], once.audio.samples[:, :40000])


@pytest.mark.parametrize("count", [1, 2, 30])
def test_raw_motion_jpeg(reader: MediaReader, tmp_path: Path, count: int) -> None:
    path = write_clip(tmp_path / "a.mjpeg", steady(count, 25), size=(160, 96), codec="mjpeg", pixel_format="yuvj420p")
    clip = reader.read_clip(path)
    assert numbers(clip.video.thumbs) == list(range(count))
    assert clip.info.video.still == (count == 1)
    assert clip.info.duration == pytest.approx(0 if count == 1 else count / 25)
    assert clip.warnings == []
