"""An append-only JSONL file of rows that survives being killed: one row per clip, whatever happened before.

The identity of a row is its `file` and `user_text`; its version is the content hash. A row is *current* when its status
is `ok` and its hash is that of the file today; anything else is rated again, and the newer row replaces the older one
(appended first, the older one left out later, so that no moment exists at which a result is lost).
Two paths with equal bytes are two rows: what lies beside a file (subtitles) can differ. A data set that moved is
recognised by its listed path and hash. Keys are 16-byte digests: memory does not grow with what a row holds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from mllm_avqa.batch.inputs import Item
from mllm_avqa.batch.lock import FileLock
from mllm_avqa.batch.rows import json_line
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.plain import plain

log = logging.getLogger(__name__)
Cells = dict[str, Any]  # one row: FlatRow.model_dump(), plus "rating" in a full JSONL
WAYS = "(--fresh starts the file anew; another -o FILE keeps it)"
_NEEDED = {"path", "file", "user_text", "content_hash", "status", "fingerprint"}
_BEGIN = b'{"path": '  # of every row


class Journal:
    """The rows of one output; use it in a `with` block.

    Entering it raises OutputError for a file in use, of another fingerprint, or not written by this package.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        *,
        fresh: bool = False,
        earlier: Callable[[], Iterable[Cells]] | None = None,
    ) -> None:
        """earlier: rows to begin with where there is no journal yet, those of a table that was exported before."""
        self.path, self.fingerprint, self.fresh, self.earlier = path, fingerprint, fresh, earlier
        self.tidy = True  # superseded rows are dropped at the end
        self._superseded = 0  # rows a newer row replaces, still in the file
        self._version: dict[bytes, bytes | None] = {}  # identity -> hash of the ok row, None for an error row
        self._moved: set[bytes] = set()

    def __enter__(self) -> Journal:
        """Lock, check what an earlier run left, drop a torn tail, build the index."""
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        restored = False
        try:
            if self.earlier is not None and not self.fresh and not self.path.exists():
                write_rows(self.path, self.earlier())
                restored = True
            self._end = 0 if self.fresh else self._index()
            self._f = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
            self._f.truncate(self._end)
            self._f.seek(self._end)
        except BaseException as e:
            if restored:
                self.path.unlink()
            self._lock.release()
            if isinstance(e, OSError):
                raise OutputError(f"-o {self.path}: can not be written: {e.strerror}") from e
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Bring the rows to the disk, drop superseded ones, unlock."""
        try:
            with self._f:
                os.fsync(self._f.fileno())
            if self._superseded and self.tidy and kind is None:
                with whole_file(self.path) as part, part.open("wb") as out:
                    out.writelines(_last_ones(self.path))
                    out.flush()
                    os.fsync(out.fileno())
        except OSError as e:
            raise OutputError(f"-o {self.path}: can not be written: {e.strerror}; {_CONTINUE}") from e
        finally:
            self._lock.release()

    def is_current(self, item: Item, content_hash: str) -> bool:
        """True when the file holds an ok row of this item with these bytes."""
        path, file, text = plain(item.listed), plain(item.file), item.user_text
        known = self._version.get(_digest(file, text))
        return known == _digest(content_hash) or _digest("moved", path, text, content_hash) in self._moved

    def append(self, cells: Cells) -> None:
        """Write one row and hand it to the operating system: a kill right after loses nothing.

        Raises OutputError when it can not be written whole (the disk is full); the rows before it stay.
        """
        line = json_line(cells)
        try:
            while line:
                line = line[self._f.write(line) or 0 :]
        except OSError as e:
            with suppress(OSError):
                self._f.truncate(self._end)
            raise OutputError(f"-o {self.path}: can not be written: {e.strerror}; {_CONTINUE}") from e
        self._end = self._f.tell()
        self._note(cells)

    def _index(self) -> int:
        """Read what an earlier run left; returns the number of bytes to keep."""
        if not self.path.exists():
            return 0
        end = 0
        with self.path.open("rb") as f:
            for number, line in enumerate(whole_lines(f), 1):
                try:
                    cells = decode(line)
                except ValueError as e:
                    if not f.read(1):  # power loss can leave a whole but garbled last line
                        break
                    raise OutputError(f"-o {self.path}: row {number} is not a row of mllm-avqa: {e} {WAYS}") from e
                self._check(cells, number)
                self._note(cells)
                end += len(line)
            if os.fstat(f.fileno()).st_size > end:  # a torn row
                self._check_tail(f, end)
        return end

    def _check_tail(self, f: BinaryIO, end: int) -> None:
        """What follows the last whole row is dropped, but only if it is the start of a row (or zeros)."""
        f.seek(end)
        tail = f.read(4096)
        if not (tail.startswith(_BEGIN) or _BEGIN.startswith(tail) or not tail.strip(b"\0")):
            raise OutputError(f"-o {self.path} ends with something that is not a row of mllm-avqa {WAYS}")
        log.warning("%s: dropped a row that was half written when an earlier run was killed", self.path)

    def _check(self, cells: Cells, number: int) -> None:
        if cells["fingerprint"] == self.fingerprint:
            return
        old, new = (set((f or "").split()) for f in (cells["fingerprint"], self.fingerprint))
        differing = ", ".join(sorted(old - new)) or "no fingerprint"
        raise OutputError(
            f"-o {self.path} holds scores that this run's would not be comparable with: row {number} has {differing}; "
            f"this run has {', '.join(sorted(new - old)) or 'none of these'} {WAYS}"
        )

    def _note(self, cells: Cells) -> None:
        text, ok = cells["user_text"], cells["status"] == "ok"
        identity = _identity(cells)
        self._superseded += identity in self._version
        self._version[identity] = _digest(cells["content_hash"]) if ok else None
        if ok:
            self._moved.add(_digest("moved", cells["path"], text, cells["content_hash"]))


def read_rows(path: Path) -> Iterator[Cells]:
    """The rows of a journal that is whole or still being written, superseded ones left out.

    Raises OutputError for a file that is not one.
    """
    try:
        for line in _last_ones(path):
            yield decode(line)
    except ValueError as e:
        raise OutputError(f"{path} is not a journal of mllm-avqa: {e}") from e


def write_rows(path: Path, rows: Iterable[Cells]) -> None:
    """A new journal of these rows; it appears whole or not at all."""
    with whole_file(path) as part, part.open("wb") as f:
        f.writelines(json_line(cells) for cells in rows)


def whole_lines(f: BinaryIO) -> Iterator[bytes]:
    """The lines of a file up to the one that a kill tore."""
    return (line for line in f if line.endswith(b"\n"))


def decode(line: bytes) -> Cells:
    """Raises ValueError for bytes that are not a row of this package."""
    try:
        cells = json.loads(line)
    except RecursionError as e:
        raise ValueError("it is nested too deep") from e
    if not isinstance(cells, dict) or not cells.keys() >= _NEEDED:
        raise ValueError("it lacks columns every row has")
    if not all(isinstance(cells[c], str | None) for c in _NEEDED):
        raise ValueError("its columns are not text")
    return cells


def _last_ones(path: Path) -> Iterator[bytes]:
    """The lines that no later line replaces."""
    last: dict[bytes, int] = {}
    with path.open("rb") as f:
        for n, line in enumerate(whole_lines(f)):
            last[_identity(decode(line))] = n
    keep = set(last.values())
    with path.open("rb") as f:
        yield from (line for n, line in enumerate(whole_lines(f)) if n in keep)


def _identity(cells: Cells) -> bytes:
    return _digest(cells["file"], cells["user_text"])


def _digest(*parts: str | None) -> bytes:
    return hashlib.blake2b("\0".join(p or "" for p in parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


_CONTINUE = "once it can, run the same command again to continue"
