"""Does the file's own structure say that its end is missing? Looks at sizes in headers only; decodes nothing."""

from __future__ import annotations

import os
from typing import BinaryIO

_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"moof", b"uuid", b"pnot", b"udta"}
_MAX_BOXES = 100_000  # a fragmented file has one pair per fragment; a hostile one could have millions


def cut_off(path: str) -> bool:
    """True if `path` announces more bytes than it has (MP4/MOV boxes, RIFF, Matroska, PNG, JPEG)."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(64)
        if head[4:8] in _BOXES:
            return _boxes_cut(stream, size)
        if head.startswith(b"RIFF"):
            return 8 + int.from_bytes(head[4:8], "little") > size + 1  # a pad byte is often left out
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return _matroska_cut(head, size)
        if head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
            stream.seek(max(0, size - 1024))
            return (b"IEND" if head.startswith(b"\x89PNG") else b"\xff\xd9") not in stream.read()
    return False


def _boxes_cut(stream: BinaryIO, size: int) -> bool:
    """ISO/IEC 14496-12 section 4.2: every top-level box starts with its 32-bit (or, if 1, 64-bit) size."""
    at, index_seen = 0, False
    for _ in range(_MAX_BOXES):
        if at >= size:
            break
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            return True
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        index_seen |= name in (b"moov", b"moof")
        if length == 0:  # "to the end of the file"
            break
        if length < 8 or not name.isascii():
            return False  # rubbish after the last box: damaged, not cut
        at += length
    return at > size or not index_seen


def _matroska_cut(head: bytes, size: int) -> bool:
    """RFC 8794: the EBML header is followed by one Segment whose length is a variable-size integer."""
    length, width = _vint(head[4:])
    at = 4 + width + length
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return False
    length, width = _vint(head[at + 4 :])
    unknown = (1 << (7 * width)) - 1  # a live recording does not know its length
    return width > 0 and length != unknown and at + 4 + width + length > size


def _vint(data: bytes) -> tuple[int, int]:
    """(value, bytes used) of an EBML variable-size integer; (0, 0) if `data` holds none."""
    if not data or data[0] == 0:
        return 0, 0
    width = 9 - data[0].bit_length()
    return int.from_bytes(data[:width], "big") & ((1 << (7 * width)) - 1), width
