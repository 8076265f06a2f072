"""What a record's file holds and whether the record is about all of it: formats of peers can not name a part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

from mllm_avqa.media import MediaReader
from mllm_avqa.schema.records import Record

STILL = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
SOUND = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac"})
_SLACK = 0.25  # s by which a record may end before its file and still mean all of it: containers round


@dataclass(frozen=True)
class Holds:
    """Streams of a file. seconds: None when it was not opened."""

    moving: bool
    still: bool
    sound: bool
    seconds: float | None = None

    def is_whole(self, record: Record) -> bool:
        """Whether the record is about the file from its start to its end (as far as that is known)."""
        late = (record.start or 0.0) > _SLACK
        early = record.end is not None and self.seconds is not None and record.end < self.seconds - _SLACK
        return not (late or early)


def by_name(record: Record) -> Holds:
    """A guess without opening the file: its suffix, and sound where something is said about the sound."""
    suffix = PurePath(record.media).suffix.lower()
    if suffix in STILL or suffix in SOUND:
        return Holds(False, suffix in STILL, suffix in SOUND)
    heard = {"audio", "sync"} & {*record.labels, *(q.aspect for q in record.questions)}
    return Holds(True, False, bool(heard))


def by_opening(reader: MediaReader) -> Callable[[str], Holds]:
    """A function of a path that opens the file (about 7 ms). It raises MediaError for one that can not be read."""

    @lru_cache(maxsize=16)  # the spans of one file follow each other
    def look(path: str) -> Holds:
        info = reader.probe(path)
        still = info.video is not None and info.video.still
        return Holds(info.video is not None and not still, still, info.audio is not None, info.duration)

    return look
