"""An append-only JSONL file of rows that survives being killed: one row per clip, whatever happened before.

The identity of a row is its `file`, `user_text`, span and id; its version is the content hash. A row is *current* when
its status is `ok` and its hash is that of the file today; anything else is rated again, and the newer row replaces the
older one (appended first, the older one left out later, so that no moment exists at which a result is lost).
Two paths with equal bytes are two rows: what lies beside a file (subtitles) can differ. A data set that moved is
recognised by its listed path and hash. Keys are 16-byte digests: memory does not grow with what a row holds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from mllm_avqa.batch.gates import Gate
from mllm_avqa.batch.lock import FileLock
from mllm_avqa.batch.manifests import OURS, Item, Key
from mllm_avqa.batch.rows import json_line
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.plain import json_text, plain

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
        gate: Gate | None = None,
    ) -> None:
        """earlier: rows to begin with where there is no journal yet, those of a table that was exported before.

        gate: rows of an earlier run pass or fail it anew; None: they keep what they say.
        """
        self.path, self.fingerprint, self.fresh, self.earlier = path, fingerprint, fresh, earlier
        self.gate = gate
        self.tidy = True  # superseded rows are dropped at the end
        self._superseded = 0  # rows a newer row replaces, still in the file
        self._outdated = False  # some row has a gate or columns of the user's that are not those of this run
        self._reasons: dict[bytes, str] = {}  # of rows that do not pass the gate
        self._carried: dict[bytes, bytes] = {}  # of the user's columns of a row, where there are any
        self._restated: dict[bytes, Mapping[str, Any]] = {}  # what they are now
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
            if self.tidy and kind is None:
                self.settle()
        except OSError as e:
            raise OutputError(f"-o {self.path}: can not be written: {e.strerror}; {_CONTINUE}") from e
        finally:
            self._lock.release()

    def settle(self) -> None:
        """Drop superseded rows and bring the others up to this run's gate and manifest, in one replacement."""
        if not (self._superseded or self._outdated or self._restated):
            return
        with whole_file(self.path) as part, part.open("wb") as out:
            out.writelines(map(self._as_of_now, _last_ones(self.path)))
            out.flush()
            os.fsync(out.fileno())
        self._superseded, self._outdated = 0, False
        self._restated.clear()

    def is_current(self, item: Item, content_hash: str) -> bool:
        """True when the file holds an ok row of this item with these bytes; the user's columns of it are brought up."""
        identity = _digest(*item.key)
        current = self._version.get(identity) == _digest(content_hash)
        if current and self._carried.get(identity) != _told(item.carried):
            self._restated[identity] = item.carried
        return current or _moved(item.listed, content_hash, *item.key[1:]) in self._moved

    def reason(self, item: Item) -> str | None:
        """Why the row of this item does not pass the gate."""
        return self._reasons.get(_digest(*item.key))

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
        ok, identity = cells["status"] == "ok", _identity(cells)
        self._superseded += identity in self._version
        self._version[identity] = _digest(cells["content_hash"]) if ok else None
        self._reasons.pop(identity, None)
        if reason := self._gate(cells):
            self._reasons[identity] = reason
        self._outdated |= reason != cells.get("gate")
        if carried := carried_by(cells):
            self._carried[identity] = _told(carried) or b""
        if ok:
            self._moved.add(_moved(cells["path"], cells["content_hash"], *row_key(cells)[1:]))

    def _gate(self, cells: Cells) -> str | None:
        return cells.get("gate") if self.gate is None else self.gate.reasons(cells)

    def _as_of_now(self, line: bytes) -> bytes:
        """A row with the gate and the columns of this run."""
        cells = decode(line)
        carried = self._restated.get(_identity(cells), carried_by(cells))
        own = {name: value for name, value in cells.items() if name in OURS}
        own["gate"] = self._gate(cells)
        return json_line({**own, **carried})


def carried_by(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that are the user's."""
    return {name: value for name, value in cells.items() if name not in OURS}


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


def row_key(cells: Cells) -> Key:
    """`Item.key` of a row."""
    return (cells["file"], *(cells.get(name) for name in ("user_text", "id", "start", "end", "repeat")))


def _identity(cells: Cells) -> bytes:
    return _digest(*row_key(cells))


def _moved(path: str, content_hash: str, *key: object) -> bytes:
    return _digest("moved", plain(path), content_hash, *key)


def _told(carried: Mapping[str, Any]) -> bytes | None:
    return _digest(json_text(carried)) if carried else None


def _digest(*parts: object) -> bytes:
    told = "\0".join("" if p is None else str(float(p)) if isinstance(p, int | float) else str(p) for p in parts)
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()


_CONTINUE = "once it can, run the same command again to continue"
