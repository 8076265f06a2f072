"""An append-only file of rows that survives being killed: one row per clip, whatever happened before.

The identity of a row is its `file` and `user_text`; its version is the content hash. A row is *current* when its status
is `ok` and its hash is that of the file today; anything else is rated again, and the newer row replaces the older one
(appended first, the older one dropped when the run ends, so that no moment exists at which a result is lost).
Two paths with equal bytes are two rows: what lies beside a file (subtitles) can differ. A data set that moved is
recognised by its listed path and hash. Keys are 16-byte digests: memory does not grow with what a row holds.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mllm_avqa.batch.codecs import Cells, Codec
from mllm_avqa.batch.inputs import Item
from mllm_avqa.batch.lock import FileLock
from mllm_avqa.batch.rows import plain
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file

log = logging.getLogger(__name__)


def _digest(*parts: str | None) -> bytes:
    return hashlib.blake2b("\0".join(p or "" for p in parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _keys(cells: Cells) -> tuple[bytes, bytes, bytes]:
    """Identity, version, and the alias under which a moved file is found."""
    text = cells["user_text"]
    return (
        _digest(cells["file"], text),
        _digest(cells["content_hash"]),
        _digest("moved", cells["path"], text, cells["content_hash"]),
    )


class RowFile:
    """Open it before, close it after, whatever happens in between (`outputs.open_rows` does).

    `open` raises OutputError for a file in use, of another fingerprint, or not written by this package.
    """

    def __init__(self, path: Path, codec: Codec, fingerprint: str, *, fresh: bool = False) -> None:
        self.path, self.codec, self.fingerprint, self.fresh = path, codec, fingerprint, fresh
        self.torn = False  # the last run was killed while it wrote
        self.superseded = 0  # rows a newer row replaces, still in the file
        self._version: dict[bytes, bytes | None] = {}  # identity -> hash of the ok row, None for an error row
        self._moved: set[bytes] = set()

    def open(self) -> None:
        """Lock, check what an earlier run left, drop a torn tail, build the index."""
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        try:
            end = 0 if self.fresh else self._index()
            self._f = self.path.open("r+b" if self.path.exists() else "w+b")
            self._f.truncate(end)
            self._f.seek(end)
            if end == 0:
                self._f.write(self.codec.header)
                self._f.flush()
        except OSError as e:
            self._lock.release()
            raise OutputError(f"-o {self.path}: can not be written: {e.strerror}") from e
        except OutputError:
            self._lock.release()
            raise

    def close(self) -> None:
        """Bring the rows to the disk, drop superseded ones, unlock."""
        try:
            self._f.flush()
            os.fsync(self._f.fileno())
            self._f.close()
            if self.superseded:
                self._compact()
        finally:
            self._lock.release()

    def is_current(self, item: Item, content_hash: str) -> bool:
        """True when the file holds an ok row of this item with these bytes."""
        path, file, text = plain(item.listed), plain(item.file), item.user_text
        known = self._version.get(_digest(file, text))
        return known == _digest(content_hash) or _digest("moved", path, text, content_hash) in self._moved

    def append(self, cells: Cells) -> None:
        """Write one row and hand it to the operating system: a kill right after loses nothing."""
        self._f.write(self.codec.encode(cells))
        self._f.flush()
        self._note(cells)

    def rows(self) -> Iterator[Cells]:
        """All rows of the closed or open file, superseded ones left out."""
        with self.path.open("rb") as f:
            for cells, last in zip(self._decoded(f), self._last_ones(), strict=True):
                if last:
                    yield cells

    def discard(self) -> None:
        """Remove the file: its rows live elsewhere now."""
        self.path.unlink()
        self.superseded = 0

    def _index(self) -> int:
        """Read what an earlier run left; returns the number of bytes to keep."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as f:
            end = len(self.codec.header)
            for number, record in enumerate(self._records(f), 1):
                try:
                    cells = self.codec.decode(record)
                except (ValueError, UnicodeDecodeError) as e:
                    if not f.read(1):  # power loss can leave a whole but garbled last line
                        break
                    raise OutputError(f"-o {self.path}: row {number} is not a row of mllm-avqa: {e} {_WAYS}") from e
                self._check(cells, number)
                self._note(cells)
                end += len(record)
            size = os.fstat(f.fileno()).st_size
            if size < end:  # not even the header is whole
                return 0
            if size > end:
                self._check_tail(f, end)
        return end

    def _check_tail(self, f: BinaryIO, end: int) -> None:
        """What follows the last whole row is dropped, but only if it is the start of a row (or zeros)."""
        f.seek(end)
        tail = f.read(4096)
        ours = tail.startswith(self.codec.prefix) or self.codec.prefix.startswith(tail) or not tail.strip(b"\0")
        if not ours:
            raise OutputError(f"-o {self.path} ends with something that is not a row of mllm-avqa {_WAYS}")
        self.torn = True
        log.warning("%s: dropped a row that was half written when an earlier run was killed", self.path)

    def _records(self, f: BinaryIO) -> Iterator[bytes]:
        try:
            yield from self.codec.split(f)
        except ValueError as e:
            raise OutputError(f"-o {self.path} exists and can not be continued: {e} {_WAYS}") from e

    def _check(self, cells: Cells, number: int) -> None:
        if cells["fingerprint"] == self.fingerprint:
            return
        old, new = (set((f or "").split()) for f in (cells["fingerprint"], self.fingerprint))
        differing = ", ".join(sorted(old - new)) or "no fingerprint"
        raise OutputError(
            f"-o {self.path} holds scores that this run's would not be comparable with: row {number} has {differing}; "
            f"this run has {', '.join(sorted(new - old)) or 'none of these'} {_WAYS}"
        )

    def _note(self, cells: Cells) -> None:
        identity, version, moved = _keys(cells)
        self.superseded += identity in self._version
        ok = cells["status"] == "ok"
        self._version[identity] = version if ok else None
        if ok:
            self._moved.add(moved)

    def _decoded(self, f: BinaryIO) -> Iterator[Cells]:
        return (self.codec.decode(r) for r in self._records(f))

    def _last_ones(self) -> Iterator[bool]:
        last: dict[bytes, int] = {}
        with self.path.open("rb") as f:
            for n, cells in enumerate(self._decoded(f)):
                last[_keys(cells)[0]] = n
        keep = set(last.values())
        with self.path.open("rb") as f:
            for n, _ in enumerate(self._records(f)):
                yield n in keep

    def _compact(self) -> None:
        """Rewrite the file without superseded rows; a reader sees the old file or the new one, never half."""
        with whole_file(self.path) as part, part.open("wb") as out, self.path.open("rb") as f:
            out.write(self.codec.header)
            for record, last in zip(self._records(f), self._last_ones(), strict=True):
                if last:
                    out.write(record)
            out.flush()
            os.fsync(out.fileno())
        self.superseded = 0


_WAYS = "(--fresh starts the file anew; another -o FILE keeps it)"
