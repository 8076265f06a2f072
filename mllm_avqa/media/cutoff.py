"""Does the file's own structure say that its end is missing? Looks at sizes in headers only; decodes nothing."""

from __future__ import annotations

import os
import re
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

from mllm_avqa.media.boxes import is_movie, movie_of, read_movie
from mllm_avqa.media.ebml import MAGIC, matroska_cut

ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_UNKNOWN = 0x7FFF_F000  # what writes to a pipe announces this many bytes or more, or none, because it cannot know
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # in entropy-coded data, FF 00 and the restarts D0 to D7 are none
_BEGINNINGS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        b"RIFF....(?:WAVE|AVI )",
        b"FORM....AIF[CF]",
        b"FLV\x01[\0-\x05]\0\0\0\x09\0\0\0\0",
        b"caff\0\x01\0\0desc",
        b"TTA1\x01\0",
        b"DKIF\0\0 \0",
        re.escape(bytes.fromhex("060e2b34020501010d0102010102")),  # the header partition of MXF
        re.escape(ASF),
    )
)


def cut_off(path: str) -> bool | None:
    """Does `path` announce more bytes than it has (MP4/MOV, RIFF, Matroska, ASF, PNG, JPEG)? None: it does not tell.

    Bytes that follow the announced end (the video of a motion photo, a signature, padding) are nobody's loss.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(64)
        if is_movie(head):
            return read_movie(stream, size).cut
        if head.startswith(b"RIFF"):
            return _riff_cut(stream, size)
        if head.startswith(MAGIC):
            return matroska_cut(stream, size)
        if head.startswith(ASF):
            stream.seek(0)
            return _asf_cut(stream.read(1 << 16), size)
        if head.startswith(b"\x89PNG"):
            return _png_cut(stream, size)
        if head.startswith(b"\xff\xd8\xff"):
            return jpeg_end(path) is None
    return None


def counts_frames(path: str) -> bool:
    """Does the first frame of an MP3 file tell how many follow? Without it, the length is a guess from one bit rate."""
    with open(path, "rb") as stream:
        head = stream.read(10)
        at = 10 + int("".join(f"{b & 127:07b}" for b in head[6:10]), 2) if head[:3] == b"ID3" and len(head) == 10 else 0
        stream.seek(at)
        frame = stream.read(4096)
    return any(word in frame for word in (b"Xing", b"Info", b"VBRI"))


def _riff_cut(stream: BinaryIO, size: int) -> bool:
    stream.seek(4)
    told = 8 + int.from_bytes(stream.read(4), "little")
    if told > 8 and told < _UNKNOWN:
        return told > size + 1  # a pad byte is often left out
    at = 12
    while at + 8 <= size:  # the size of the whole is not known: that of the samples may be
        stream.seek(at)
        name, length = stream.read(4), int.from_bytes(stream.read(4), "little")
        if name == b"data":
            return length < _UNKNOWN and at + 8 + length > size + 1
        at += 8 + length + length % 2
    return False


def _asf_cut(head: bytes, size: int) -> bool | None:
    """The File Properties Object tells the size of the file, unless it is a broadcast."""
    at = head.find(_ASF_FILE)
    if not 0 <= at < len(head) - 92 or head[at + 88] & 1:
        return None
    return int.from_bytes(head[at + 40 : at + 48], "little") > size


def _png_cut(stream: BinaryIO, size: int) -> bool:
    at = 8
    while at + 12 <= size:
        stream.seek(at)
        length, name = int.from_bytes(stream.read(4), "big"), stream.read(4)
        at += 12 + length
        if name == b"IEND":
            return at > size
    return True


def jpeg_end(path: str) -> int | None:
    """Where the first picture of a JPEG file ends; None: it has no end.

    Its segments and scans are followed, because an embedded thumbnail has an end of its own.
    """
    at = 2
    with open(path, "rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        while found := _MARKER.search(data, at):
            marker, at = found[1][0], found.end()
            if marker == 0xD9:
                return at
            if marker != 0xD8 and marker != 0x01:
                at += int.from_bytes(data[at : at + 2], "big")
    return None


def follows(path: str) -> int | None:
    """Where a second file of the same kind begins in a file, if it was joined byte by byte and readers stop there.

    Ogg, Matroska, FLAC, MPEG and raw streams are not asked: read on, they give their second part too.
    """
    if (movie := movie_of(path)) is not None:
        return movie.again
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(64)
        kind = next((k for k in _BEGINNINGS if k.match(head)), None)
        if kind is None or size < 128:
            return None
        with mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
            found = kind.search(data, 64)
            return found.start() if found else None
