"""Every way a file can be wrong ends in one typed error, or in a warning where something can still be decoded."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from media_synth import numbers, steady, tone, write_clip, write_subtitles
from PIL import Image

from mllm_avqa.media import Limits, MediaReader, content_hash
from mllm_avqa.schema.errors import (
    ConfigError,
    MediaNotFound,
    MediaTimeout,
    MediaTooLarge,
    NotAFile,
    NotMedia,
    NoUsableStream,
    TruncatedMedia,
    UnsupportedCodec,
    UnsupportedFormat,
)


def _png(path: Path, width: int, height: int) -> Path:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))
    return path


def test_missing(reader: MediaReader, tmp_path: Path) -> None:
    with pytest.raises(MediaNotFound, match=r"nowhere\.mp4"):
        reader.probe(tmp_path / "nowhere.mp4")
    with pytest.raises(MediaNotFound):
        content_hash(tmp_path / "nowhere.mp4")


def test_not_a_regular_file(reader: MediaReader, tmp_path: Path) -> None:
    with pytest.raises(NotAFile, match="directory"):
        reader.probe(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(NotAFile, match="FIFO"):
        reader.probe(tmp_path / "pipe.mp4")
    with pytest.raises(NotAFile, match="FIFO"):
        content_hash(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(tmp_path / "s.mp4"))
        with pytest.raises(NotAFile, match="socket"):
            reader.probe(tmp_path / "s.mp4")
    with pytest.raises(NotAFile, match="device"):
        reader.probe("/dev/zero")


@pytest.mark.parametrize("body", [b"", b"x", b"just some text\n" * 40, np.random.default_rng(0).bytes(5000)])
def test_not_media(reader: MediaReader, tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(body)
    with pytest.raises(NotMedia, match=r"text\.mp4"):
        reader.read_clip(path)


def test_playlist_is_not_followed(reader: MediaReader, tmp_path: Path) -> None:
    write_clip(tmp_path / "part.ts", steady(30))
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\npart.ts\n#EXT-X-ENDLIST\n"
    for name in ("list.m3u8", "list.mp4"):
        (tmp_path / name).write_text(text)
        with pytest.raises(UnsupportedFormat):
            reader.read_clip(tmp_path / name)
    (tmp_path / "list.txt").write_text("ffconcat version 1.0\nfile part.ts\n")
    with pytest.raises(UnsupportedFormat):
        reader.read_clip(tmp_path / "list.txt")


@pytest.mark.parametrize(
    "name", ["-x.mp4", "concat:a.mp4", "a b'\"$(id)\n.mp4", "pipe:0", "é%03d.mp4", os.fsdecode(b"\xff\xfe.mp4")]
)
def test_strange_names_are_only_names(
    reader: MediaReader, plain: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(plain.read_bytes())
    assert reader.probe(name).video.width == 320
    with pytest.raises(MediaNotFound):
        reader.probe("missing" + name)


def test_index_in_the_missing_part(reader: MediaReader, plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(plain.read_bytes()[:-5000])
    with pytest.raises(TruncatedMedia, match="cut off"):
        reader.read_clip(path)


def test_cut_after_the_index_gives_what_is_there(reader: MediaReader, faststart: Path, tmp_path: Path) -> None:
    data = faststart.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) * 6 // 10])
    clip = reader.read_clip(path)
    shown = numbers(clip.video.thumbs)
    assert 20 < len(shown) < 110
    assert shown == list(range(len(shown)))
    assert clip.warnings == [f"truncated: {clip.end:.1f} s of 4.0 s are there"]


def test_cut_directly_after_the_index(reader: MediaReader, faststart: Path, tmp_path: Path) -> None:
    data = faststart.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 40])
    with pytest.raises(TruncatedMedia):
        reader.read_clip(path)


def test_cut_matroska(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "cut.mkv", steady(120), sound=tone(4.0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    clip = reader.read_clip(path)
    assert clip.warnings[0].startswith("truncated: ")
    assert 0 < len(clip.video.thumbs) < 120


def test_damaged_packets_are_counted_and_skipped(reader: MediaReader, faststart: Path, tmp_path: Path) -> None:
    data = bytearray(faststart.read_bytes())
    rng = np.random.default_rng(1)
    begin = data.index(b"mdat") + 200
    for at in rng.integers(begin, len(data) - 64, 60):
        data[at : at + 8] = rng.bytes(8)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    clip = reader.read_clip(path)
    assert clip.video.damaged + clip.audio.damaged > 0
    assert len(clip.video.thumbs) > 30
    assert len(clip.video.frames) >= 1
    assert (np.diff(clip.video.thumb_pts) > 0).all()


def test_huge_header(reader: MediaReader, tmp_path: Path) -> None:
    with pytest.raises(MediaTooLarge, match=r"20000x20000.*--max-pixels"):
        reader.read_clip(_png(tmp_path / "huge.png", 20000, 20000))


def test_pixel_limit_of_video(tmp_path: Path, plain: Path) -> None:
    limits = Limits(max_pixels=320 * 180 - 1)
    with MediaReader(limits=limits) as strict, pytest.raises(MediaTooLarge, match=r"320x180.*--max-pixels"):
        strict.probe(plain)


def test_duration_limit(reader: MediaReader, plain: Path) -> None:
    with pytest.raises(MediaTooLarge, match=r"2\.0 s long.*--max-duration"):
        reader.request("probe", plain, limits=Limits(max_duration=1.0))


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
def test_frames_of_an_animation(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    images = [Image.new("RGB", (16, 16), (40 * n, 9, 9)) for n in range(6)]
    images[0].save(path, format="PNG" if suffix == "apng" else None, save_all=True, append_images=images[1:])
    assert reader.probe(path).video.still is False
    assert reader.request("probe", path, limits=Limits(max_frames=6)).video is not None
    with pytest.raises(MediaTooLarge, match=r"more than 5 frames \(--max-frames\)"):
        reader.request("probe", path, limits=Limits(max_frames=5))


def test_memory_limit(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "big.mkv", steady(4), size=(3840, 2160), codec="mjpeg", pixel_format="yuvj420p")
    with MediaReader(limits=Limits(max_memory_mb=64)) as small:
        with pytest.raises(MediaTooLarge, match="--max-memory-mb"):
            small.read_clip(path)
        small.limits = Limits()
        assert len(small.read_clip(path).video.frames) == 4


def test_time_limit_kills_and_recovers(plain: Path) -> None:
    with MediaReader(limits=Limits(max_seconds=0.001)) as hasty:
        with pytest.raises(MediaTimeout, match=r"0\.001 s \(--max-seconds\)"):
            hasty.read_clip(plain)
        hasty.limits = Limits()
        assert hasty.probe(plain).video.width == 320


def test_unknown_codec(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "u.mp4", steady(10))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zz9z").replace(b"avcC", b"zz9Z"))
    with pytest.raises(UnsupportedCodec, match="not supported"):
        reader.read_clip(path)
    both = write_clip(tmp_path / "b.mp4", steady(30), sound=tone(1.0))
    both.write_bytes(both.read_bytes().replace(b"avc1", b"zz9z").replace(b"avcC", b"zz9Z"))
    clip = reader.read_clip(both)
    assert clip.audio is not None
    assert clip.absent == {"video": "the video stream's codec is not supported"}


def test_container_without_streams(reader: MediaReader, tmp_path: Path) -> None:
    path = write_subtitles(tmp_path / "empty.mkv", [(0, 1, "hello")])
    with pytest.raises(NoUsableStream, match="no video stream; the file has no audio stream"):
        reader.read_clip(path)


def test_unknown_reader() -> None:
    with pytest.raises(ConfigError, match=r"'vlc'; allowed: decord, pyav \(--reader\)"):
        MediaReader(reader="vlc")


def test_content_hash(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # Published: FIPS 180-2, appendix B.1.
    assert content_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
