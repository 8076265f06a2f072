"""Is anything in two parts of a split: a group, a media file, its bytes under another name, nearly the same name?"""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record, Split, read_records

# Words that with their number end the name of a version of a clip: codec settings, sizes, rates, sub-clips.
_WORDS = (
    *("crf", "qp", "q", "br", "vb", "ab", "kbps", "kbit", "bitrate", "fps", "res", "hrc", "lv", "level", "dist"),
    *("distorted", "dis", "dst", "ref", "reference", "orig", "original", "pristine", "ss", "t", "copy"),
)


@dataclass(frozen=True)
class Leak:
    """One thing in several parts. what: "group", "media", "content" or "name" (only a warning).

    split: "split", or "fold 3". parts: part -> id of its first record.
    """

    what: str
    name: str
    split: str
    parts: dict[Split, str]

    @property
    def is_warning(self) -> bool:
        return self.what == "name"


@dataclass
class Leaks:
    """leaks: in the order of the files. records, unreadable: how many were read, how many media files are not there."""

    leaks: list[Leak] = field(default_factory=list)
    records: int = 0
    unreadable: int = 0


@dataclass
class _Seen:
    """A suspect in the second reading. parts: split -> part -> id of the first record."""

    name: str
    groups: set[str] = field(default_factory=set)
    parts: dict[str, dict[Split, str]] = field(default_factory=dict)


class _Column:
    """Key and membership per record as 16 bytes; membership numbers stand for (split, folds)."""

    def __init__(self) -> None:
        self.keys, self.members = array("Q"), array("q")

    def add(self, key: int, member: int) -> None:
        self.keys.append(key)
        self.members.append(member)

    def suspects(self) -> set[int]:
        """Keys with more than one membership."""
        keys, members = np.asarray(self.keys), np.asarray(self.members)
        order = np.lexsort((members, keys))
        keys, members = keys[order], members[order]
        differ = (keys[1:] == keys[:-1]) & (members[1:] != members[:-1])
        return set(keys[1:][differ].tolist())


def find_leaks(files: Sequence[str | Path], content: bool = False) -> Leaks:
    """Check `split` and every entry of `folds` over all files together, which are each read two or three times.

    Keeps 16 bytes per record and check, and what is suspect; nothing else. content: also compare the bytes of media
    files that have the size of another one. Raises ConfigError for no records, or none with a split or folds.
    """
    findings = Leaks()
    members: dict[tuple[str | None, ...], int] = {}
    columns = {"group": _Column(), "media": _Column(), "name": _Column()}
    sizes = _Column()
    digests: dict[str, str] = {}
    for path, r in _read(files):
        findings.records += 1
        member = members.setdefault((r.split, *r.folds), len(members))
        keys = _keys(path, r)
        for what in ("media", "name"):
            columns[what].add(_number(keys[what]), member)
        for group in r.contents:
            columns["group"].add(_number(group), member)
        if content:
            size = _size(keys["media"])
            findings.unreadable += size < 0
            sizes.add(size if size >= 0 else 0, _number(keys["media"]) >> 1)
    if not findings.records:
        raise ConfigError(f"no records in {', '.join(map(str, files))}")
    if all(part is None for m in members for part in m):
        raise ConfigError("no record has a split or folds: nothing to check (`split` makes some)")
    if content:
        columns["content"] = _Column()
        shared = sizes.suspects() - {0}
        for path, r in _read(files):
            file = _keys(path, r)["media"]
            if _size(file) in shared:
                if file not in digests:
                    digests[file] = _digest(file)
                columns["content"].add(_number(digests[file]), members[(r.split, *r.folds)])
    findings.leaks = _follow(files, {what: c.suspects() for what, c in columns.items()}, digests)
    return findings


def stem(media: str) -> str:
    """Name of a media file without folder, ending and what tells versions of one content apart.

    `.../1Runner_crf_0_24fps.mp4` -> `1runner`. Only known words are taken off (with their numbers), and kinds of
    distortion with their level.
    """
    name = Path(media).stem.lower()
    shorter = _suffix().sub("", name)
    return shorter or name


@cache
def _suffix() -> re.Pattern[str]:
    from data_recipes.distortions import kinds

    words = "|".join(sorted((re.escape(w) for w in {*_WORDS, *(k.kind for k in kinds())}), key=len, reverse=True))
    one = rf"(?:(?:{words})[_.-]?\d*(?:\.\d+)?|\d+(?:\.\d+)?(?:fps|kbps|kbit|k|p|hz)|\d+x\d+)"
    return re.compile(rf"(?:[_\s.-]+{one})+$")


def _follow(files: Sequence[str | Path], suspects: dict[str, set[int]], digests: dict[str, str]) -> list[Leak]:
    """Read again, and tell which suspects really are in two parts of one split."""
    seen: dict[tuple[str, int], _Seen] = {}
    for path, r in _read(files):
        keys = _keys(path, r)
        for what, name in (*(("group", c) for c in r.contents), *((w, keys[w]) for w in ("media", "name", "content"))):
            key = _number(digests.get(name, "") if what == "content" else name)
            if key in suspects.get(what, ()):
                entry = seen.setdefault((what, key), _Seen(name))
                entry.groups.add(r.group)
                for split, part in (("split", r.split), *((f"fold {i}", p) for i, p in enumerate(r.folds))):
                    if part is not None:
                        entry.parts.setdefault(split, {}).setdefault(part, r.id)
    return [
        Leak(what, entry.name, split, parts)
        for (what, _), entry in seen.items()
        for split, parts in entry.parts.items()
        # names alike within one group say nothing that the group does not say
        if len(parts) > 1 and not (what == "name" and len(entry.groups) == 1)
    ]


def _read(files: Sequence[str | Path]) -> Iterator[tuple[Path, Record]]:
    for file in files:
        for record in read_records(file):
            yield Path(file), record


def _keys(path: Path, r: Record) -> dict[str, str]:
    media = os.path.normpath(os.path.join(os.path.abspath(path.parent), r.media))
    return {"media": media, "content": media, "name": stem(r.media)}


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _size(file: str) -> int:
    """Bytes of a file; -1 if it is not there."""
    return os.path.getsize(file) if os.path.isfile(file) else -1


def _digest(file: str) -> str:
    with open(file, "rb") as f:
        return hashlib.file_digest(f, "blake2b").hexdigest()
