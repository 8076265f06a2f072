"""MP4, MOV, HEIF and AVIF by their boxes: what FFmpeg does not tell of a file. Reads headers only, decodes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_MAX_BOXES = 100_000  # a fragmented file has one pair per fragment; a hostile one could have millions
_MAX_BODY = 1 << 20  # bytes read of one small box
TOP = frozenset(
    b"ftyp moov mdat free skip wide styp sidx ssix moof mfra uuid pnot udta meta emsg prft pdin pict junk idat".split()
)
_AUXILIARY = frozenset((b"auxl", b"vdep", b"vplx", b"thmb"))  # references from alpha, depth and thumbnails to a picture
_SAMPLES = (b"mdia", b"minf", b"stbl", b"stsd")


@dataclass(frozen=True)
class Box:
    """`end` may lie beyond the file."""

    name: bytes
    body: int
    end: int


@dataclass
class Movie:
    """What the boxes of a file say."""

    cut: bool = False  # more bytes are announced than are there
    tracks: int = 0  # with picture or sound
    encrypted: set[str] = field(default_factory=set)  # sample formats such as "encv"
    auxiliary: set[int] = field(default_factory=set)  # ids of tracks that are alpha, depth or thumbnails
    primary: int | None = None  # id of the item that is the picture
    primary_kind: str = ""  # "av01", "hvc1", "grid" ...
    brand: str = ""
    again: int | None = None  # where another file begins, joined to this one


def is_movie(head: bytes) -> bool:
    """Does a file that begins with these bytes consist of boxes?"""
    return head[4:8] in TOP


def movie_of(path: str) -> Movie | None:
    """The boxes of the file `path`; None if it does not consist of any."""
    with open(path, "rb") as stream:
        return read_movie(stream, os.path.getsize(path)) if is_movie(stream.read(8)) else None


def read_at(stream: BinaryIO, at: int, count: int) -> bytes:
    """Up to `count` bytes from `at`; none from places that no file system knows, which damaged sizes lead to."""
    if at >= os.fstat(stream.fileno()).st_size:
        return b""
    stream.seek(at)
    return stream.read(count)


def read_movie(stream: BinaryIO, size: int) -> Movie:
    """Walks through the boxes of a file of `size` bytes (ISO/IEC 14496-12, HEIF: 23008-12)."""
    movie, indexed = Movie(), False
    for box in _boxes(stream, 0, size):
        if box.name not in TOP:  # bytes that follow the last box
            break
        if box.name == b"ftyp" and indexed:
            movie.again = box.body - 8
            break
        movie.cut |= box.end > size
        indexed |= box.name in (b"moov", b"moof", b"meta")
        if box.name == b"ftyp":
            movie.brand = _body(stream, box)[:4].decode("latin-1").strip()
        elif box.name == b"moov":
            for track in _boxes(stream, box.body, min(box.end, size)):
                if track.name == b"trak":
                    _track(stream, track, movie)
        elif box.name == b"meta":
            _items(stream, box, movie)
    movie.cut |= not indexed
    return movie


def _boxes(stream: BinaryIO, at: int, end: int) -> Iterator[Box]:
    """Every box starts with its 32-bit size; 1: a 64-bit size follows, 0: the box reaches to the end."""
    for _ in range(_MAX_BOXES):
        head = read_at(stream, at, 16)
        if at + 8 > end or len(head) < 8:
            return
        length, begin = int.from_bytes(head[:4], "big"), at + 8
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), at + 16
        length = end - at if length == 0 else length
        if length < begin - at:
            return
        yield Box(head[4:8], begin, at + length)
        at += length


def _body(stream: BinaryIO, box: Box) -> bytes:
    return read_at(stream, box.body, max(0, min(box.end - box.body, _MAX_BODY)))


def _within(stream: BinaryIO, box: Box, path: tuple[bytes, ...]) -> Iterator[Box]:
    for child in _boxes(stream, box.body, box.end):
        if child.name == path[0]:
            yield from _within(stream, child, path[1:]) if path[1:] else (child,)


def _track(stream: BinaryIO, track: Box, movie: Movie) -> None:
    kind = b"".join(_body(stream, b)[8:12] for b in _within(stream, track, (b"mdia", b"hdlr")))[:4]
    if kind not in (b"vide", b"soun", b"auxv", b"pict"):
        return
    movie.tracks += 1
    for table in _within(stream, track, _SAMPLES):
        for entry in _boxes(stream, table.body + 8, table.end):
            if entry.name.startswith((b"enc", b"drm")) or b"sinf" in _body(stream, entry):
                movie.encrypted.add(entry.name.decode("latin-1"))
    references = {b.name for found in _within(stream, track, (b"tref",)) for b in _boxes(stream, found.body, found.end)}
    if kind == b"auxv" or references & _AUXILIARY:
        for head in _within(stream, track, (b"tkhd",)):
            data = _body(stream, head)
            movie.auxiliary.add(int.from_bytes(data[20:24] if data[:1] == b"\1" else data[12:16], "big"))


def _items(stream: BinaryIO, meta: Box, movie: Movie) -> None:
    kinds: dict[int, str] = {}
    for box in _boxes(stream, meta.body + 4, meta.end):
        data = _body(stream, box)
        wide = data[:1] != b"\0"
        if box.name == b"pitm":
            movie.primary = int.from_bytes(data[4 : 8 if wide else 6], "big")
        elif box.name == b"iinf":
            for entry in _boxes(stream, box.body + (8 if wide else 6), box.end):
                info = _body(stream, entry)
                at = 8 if info[:1] == b"\3" else 6
                item, kind = int.from_bytes(info[4:at], "big"), info[at + 2 : at + 6].decode("latin-1")
                kinds[item] = kind
                if any(info[at : at + 2]):
                    movie.encrypted.add(kind)
    movie.primary_kind = kinds.get(movie.primary or 0, "")
