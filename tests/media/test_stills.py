"""Pictures: turned as their EXIF says, whole, and never mistaken for a film or for their own alpha plane."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from media_synth import numbers, picture
from PIL import Image

from mllm_avqa import media
from mllm_avqa.media import DecodeSpec, MediaReader
from mllm_avqa.media.boxes import movie_of
from mllm_avqa.schema.errors import EmptyWindow, NotMedia, UnsupportedCodec, UnsupportedFormat

ORIENTATION = 0x0112
# TIFF 6.0, tag 274: how the stored rows and columns become what is seen.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("suffix", ["jpg", "tiff", "webp", "png", "avif"])
def test_exif_orientation(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    stored = np.full((32, 48, 3), 128, np.uint8)
    stored[:8, :8], stored[:8, -8:], stored[-8:, :8] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    for value, turn in TURNS.items():
        path = tmp_path / f"{value}.{suffix}"
        exif = Image.Exif()
        exif[ORIENTATION] = value
        if suffix == "tiff":
            Image.fromarray(stored).save(path, tiffinfo={ORIENTATION: value})
        else:
            Image.fromarray(stored).save(path, exif=exif.tobytes(), quality=95)
        clip = reader.read_clip(path)
        expected = turn(stored).astype(int)
        assert clip.video.frames.shape[1:] == expected.shape, value
        assert np.abs(clip.video.frames[0] - expected).mean() < 8, value
        assert clip.video.thumbs.shape[1:] == expected.shape[:2]
        assert (clip.info.video.width, clip.info.video.height) == expected.shape[1::-1]
        assert clip.warnings == []


def test_decord_gives_a_typed_error_for_what_it_cannot_read(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (48, 32)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(UnsupportedCodec, match="--reader pyav"):
        media.read_clip(tmp_path / "a.jpg", reader="decord")


def test_avif_picture_is_a_still(reader: MediaReader, tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA"):  # alpha is a picture of its own in the file
        path = tmp_path / f"{mode}.avif"
        Image.fromarray(picture(77, 160, 90)).convert(mode).save(path)
        clip = reader.read_clip(path)
        assert clip.info.video.still
        assert (clip.info.video.fps, clip.info.duration, clip.warnings) == (None, 0.0, [])
        assert (clip.info.video.codec, clip.info.video.pixel_format) == ("av1", "yuv420p")
        assert numbers(clip.video.frames) == [77]


def test_moving_avif_shows_its_colours(reader: MediaReader, tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    images = [Image.fromarray(np.dstack([picture(n, 160, 90), np.full((90, 160), 200, np.uint8)])) for n in range(12)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    assert movie_of(str(path)).auxiliary
    clip = reader.read_clip(path)
    assert not clip.info.video.still
    assert clip.info.video.pixel_format == "yuv420p"
    assert numbers(clip.video.thumbs) == list(range(12))
    assert clip.info.duration == pytest.approx(1.2)


@pytest.mark.parametrize("lossless", [True, False])
def test_animated_webp(reader: MediaReader, tmp_path: Path, lossless: bool) -> None:
    path = tmp_path / "a.webp"
    images = [Image.fromarray(picture(n, 160, 90)) for n in range(30)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, lossless=lossless)
    info = reader.probe(path)
    assert (info.container, info.duration, info.video.fps) == ("webp", pytest.approx(3.0), pytest.approx(10.0))
    clip = reader.read_clip(path, DecodeSpec(start=1.0, duration=1.0))
    assert numbers(clip.video.thumbs) == list(range(10, 20))
    assert len(clip.video.frames) == 8
    with pytest.raises(EmptyWindow):
        reader.read_clip(path, DecodeSpec(start=3.0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 0 < reader.probe(path).duration < 3.0


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def tiled(brand: bytes, coded: bytes) -> bytes:
    """A picture of two tiles, as ISO/IEC 23008-12 section 6.6.2.3 has it; its tiles hold rubbish."""
    items = b"".join(
        box(b"infe", b"\2\0\0\0", struct.pack(">HH", n, 0), kind, b"\0")
        for n, kind in enumerate((b"grid", coded, coded), 1)
    )
    meta = box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"pitm", bytes(4), struct.pack(">H", 1)),
        box(b"iinf", bytes(4), struct.pack(">H", 3), items),
        box(b"iref", bytes(4), box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3))),
    )
    return box(b"ftyp", brand, bytes(4), b"mif1" + brand) + meta + box(b"mdat", bytes(64))


@pytest.mark.parametrize("brand", [b"heic", b"avif"])
def test_a_tile_is_not_the_picture(reader: MediaReader, tmp_path: Path, brand: bytes) -> None:
    path = tmp_path / "grid"
    path.write_bytes(tiled(brand, b"hvc1" if brand == b"heic" else b"av01"))
    movie = movie_of(str(path))
    assert (movie.primary, movie.primary_kind, movie.cut, movie.tracks) == (1, "grid", False, 0)
    with pytest.raises(media_errors()):
        reader.read_clip(path)


def media_errors() -> tuple[type[Exception], ...]:
    from mllm_avqa.schema.errors import NoUsableStream

    return (UnsupportedFormat, NoUsableStream)


def test_y4m(reader: MediaReader, tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    with av.open(str(path), "w", format="yuv4mpegpipe") as out:
        stream = out.add_stream("wrapped_avframe", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for n in range(25):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(n, 96, 64), "rgb24").reformat(format="yuv420p")))
    clip = reader.read_clip(path)
    assert numbers(clip.video.thumbs) == list(range(25))
    assert (clip.info.duration, clip.info.video.fps) == (1.0, 25.0)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"MThd\0\0\0\6", "a MIDI score"),
        (b"PK\3\4", "a ZIP archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"v/1\1\2\0\0\0", "an OpenEXR picture"),
    ],
)
def test_known_but_not_supported(reader: MediaReader, tmp_path: Path, head: bytes, words: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(head + bytes(200))
    with pytest.raises(UnsupportedFormat, match=words):
        reader.read_clip(path)
    path.write_bytes(b"hello " + head)
    with pytest.raises(NotMedia):
        reader.read_clip(path)
