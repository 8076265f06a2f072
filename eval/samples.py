"""The clips of a task, and what makes two of them the same sample."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from eval.store import digest
from mllm_avqa.context.sidecars import find_sidecars
from mllm_avqa.media import content_hash
from mllm_avqa.schema.errors import ConfigError, MediaError
from mllm_avqa.schema.records import Record, read_records, relocation, write_records

T = TypeVar("T")


class Samples:
    """Content hashes of files, each read once per run, however many tasks and checkpoints use it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def file(self, path: Path) -> str:
        """sha256 of a file. Raises MediaError subclasses for one that is not there."""
        name = os.path.abspath(path)
        if name not in self._known:
            self._known[name] = content_hash(name)
        return self._known[name]

    def key(self, record: Record, base: Path, context: str) -> str:
        """Hash of the clip's bytes, its span, and the texts that come with it. Raises MediaError subclasses."""
        media = base / record.media
        beside = find_sidecars(media) if context != "none" else []
        hashes = [self.file(media), *(self.file(p) for p in beside if p.is_file())]
        return digest(hashes, record.start, record.end, record.context)

    def keys(self, records: Iterable[Record], base: Path, context: str) -> list[str]:
        """`key` of every record; of a clip that can not be read, the kind of the error."""
        out = []
        for r in records:
            try:
                out.append(self.key(r, base, context))
            except MediaError as e:
                out.append(e.kind)
        return out


def chosen(path: Path, split: str, limit: int | None) -> list[Record]:
    """`select` of a record file."""
    return select(list(read_records(path)), split, limit, str(path))


def select(records: Sequence[Record], split: str, limit: int | None = None, file: str = "") -> list[Record]:
    """The records of a split ("all": every one); a limit takes evenly spread ones. Raises ConfigError for none."""
    found = [r for r in records if split in ("all", r.split)]
    if not found:
        there = ", ".join(sorted({r.split or "none" for r in records})) or "no records at all"
        where = f"{file} has" if file else "there is"
        raise ConfigError(
            f"{where} no record of split {split!r} (--split); there are: {there}, and 'all' takes every one"
        )
    return spread(found, limit) if limit is not None else found


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` evenly spread items, so that no source fills them alone."""
    n = min(count, len(items))
    return [items[i * len(items) // n] for i in range(n)]


def write_labels(path: Path, records: list[Record], base: Path) -> Path:
    """The records as a file of their own in another folder: the labels of `python -m eval correlate`."""
    place = relocation(base, path.parent)
    write_records(path, (r.model_copy(update={"media": place(r.media)}) for r in records))
    return path
