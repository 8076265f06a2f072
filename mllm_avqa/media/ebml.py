"""Matroska and WebM by their elements (RFC 8794, RFC 9559): is the end missing, is the content encrypted?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from mllm_avqa.media.boxes import read_at

MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT, _TRACKS, _CLUSTER = 0x18538067, 0x1654AE6B, 0x1F43B675
_ENCODING = (_TRACKS, 0xAE, 0x6D80, 0x6240)  # Tracks, TrackEntry, ContentEncodings, ContentEncoding
_ENCRYPTION = 0x5035
_ENDLESS = 1 << 62
_MAX_ELEMENTS = 10_000  # before the tracks


def matroska_cut(stream: BinaryIO, size: int) -> bool | None:
    """Does the segment announce more bytes than `size`? None: a live recording, which does not know its length."""
    for name, _, end in _elements(stream, 0, _ENDLESS):
        if name == _SEGMENT:
            return None if end == _ENDLESS else end > size
    return None


def matroska_encrypted(stream: BinaryIO, size: int) -> bool:
    """Has any track an encryption among its content encodings (which else are compression)?"""
    for name, body, end in _elements(stream, 0, size):
        if name == _SEGMENT:
            return any(_within(stream, body, min(end, size), (*_ENCODING, _ENCRYPTION)))
    return False


def _within(stream: BinaryIO, begin: int, end: int, path: tuple[int, ...]) -> Iterator[bool]:
    for name, body, stop in _elements(stream, begin, end):
        if name == path[0]:
            yield from _within(stream, body, min(stop, end), path[1:]) if path[1:] else (True,)
        elif name == _CLUSTER:
            return


def _elements(stream: BinaryIO, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(id, start of the body, end) of successive elements; an unknown length reaches to `end`."""
    for _ in range(_MAX_ELEMENTS):
        head = read_at(stream, at, 12)
        width = 9 - head[0].bit_length() if head and head[0] else 0
        length, used = _vint(head[width:])
        if at >= end or width not in range(1, 5) or used == 0:
            return
        body = at + width + used
        stop = end if length == (1 << (7 * used)) - 1 else body + length
        yield int.from_bytes(head[:width], "big"), body, stop
        at = stop


def _vint(data: bytes) -> tuple[int, int]:
    """(value, bytes used) of an EBML variable-size integer; (0, 0) if `data` holds none."""
    if not data or data[0] == 0:
        return 0, 0
    width = 9 - data[0].bit_length()
    if len(data) < width:
        return 0, 0
    return int.from_bytes(data[:width], "big") & ((1 << (7 * width)) - 1), width
