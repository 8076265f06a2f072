"""Encrypted content is refused by name: a decoder would turn it into noise, and the noise would get a score."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from media_synth import steady, tone, write_clip

from mllm_avqa.media import MediaReader
from mllm_avqa.media.locks import encryption
from mllm_avqa.schema.errors import EncryptedMedia


@pytest.mark.parametrize(("stored", "locked"), [(b"avc1", b"encv"), (b"mp4a", b"enca"), (b"avc1", b"drmi")])
def test_common_encryption(reader: MediaReader, tmp_path: Path, stored: bytes, locked: bytes) -> None:
    path = write_clip(tmp_path / "a.mp4", steady(10), sound=tone(0.3))
    assert encryption(str(path)) is None
    data = path.read_bytes()
    at = data.index(stored, data.index(b"stsd") if stored == b"avc1" else data.rindex(b"stsd"))
    path.write_bytes(data[:at] + locked + data[at + 4 :])
    for call in (reader.probe, reader.read_clip):
        with pytest.raises(EncryptedMedia, match=rf"encrypted.*{locked.decode()}"):
            call(path)


def test_a_sinf_box_in_a_sample_entry(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", steady(10))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"pasp", b"sinf").replace(b"btrt", b"sinf"))
    assert b"sinf" in path.read_bytes()
    with pytest.raises(EncryptedMedia):
        reader.probe(path)


def element(name: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes.fromhex(name) + struct.pack(">Q", 1 << 56 | len(body)) + body


@pytest.mark.parametrize(("inner", "locked"), [("5035", True), ("5034", False)])  # ContentEncryption, ...Compression
def test_matroska(tmp_path: Path, inner: str, locked: bool) -> None:
    encoding = element("6D80", element("6240", element("5033", b"\1" if locked else b"\0"), element(inner, b"")))
    tracks = element("1654AE6B", element("AE", element("D7", b"\1"), encoding))
    path = tmp_path / "a.mkv"
    path.write_bytes(element("1A45DFA3", b"") + element("18538067", element("1549A966", b""), tracks))
    assert (encryption(str(path)) is not None) == locked


def test_real_matroska_is_not_encrypted(tmp_path: Path) -> None:
    assert encryption(str(write_clip(tmp_path / "a.mkv", steady(10), sound=tone(0.3)))) is None


def test_scrambled_transport_stream(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.ts", steady(30), sound=tone(1.0))
    assert encryption(str(path)) is None
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] >= 256:  # not the tables
            data[at + 3] |= 0x80
    path.write_bytes(data)
    with pytest.raises(EncryptedMedia, match="scrambled"):
        reader.probe(path)


def test_windows_media_drm(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.asf", steady(10), codec="mpeg4")
    assert encryption(str(path)) is None
    path.write_bytes(path.read_bytes()[:30] + bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"))
    assert encryption(str(path)) == "Windows Media DRM"
