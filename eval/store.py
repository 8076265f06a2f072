"""The per-item log: one JSON line per question, written as it is answered; a run that was stopped goes on from it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from mllm_avqa.batch.lock import FileLock
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file

DONE = ("answered", "unanswered", "unsupported")  # a row of another status is tried again
Row = dict[str, Any]


def digest(*parts: object) -> str:
    """Short hash of anything that JSON can write."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Log:
    """Use it in a `with` block. Rows of this run are in `rows` by key.

    Raises OutputError on entry for a file in use, of another run, or not of this program.
    """

    def __init__(self, path: Path, run: str, *, fresh: bool = False) -> None:
        self.path, self.run, self.fresh = path, run, fresh
        self.rows: dict[str, Row] = {}

    def __enter__(self) -> Log:
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        try:
            end = 0 if self.fresh else self._read()
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as e:
            self._lock.release()
            raise OutputError(f"-o: {self.path} can not be written: {e.strerror}") from e
        except OutputError:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()

    def has(self, key: str) -> bool:
        return key in self.rows and self.rows[key]["status"] in DONE

    def add(self, key: str, row: Row) -> None:
        """Append a row and hand it to the operating system: a kill right after loses nothing."""
        row = {"run": self.run, "key": key, **row}
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self.rows[key] = row

    def tidy(self, keys: Iterable[str]) -> None:
        """Rewrite the file: these rows first, in this order, each once; a reader sees the old file or the new one."""
        order = dict.fromkeys([*keys, *self.rows])
        with whole_file(self.path) as part, part.open("wb") as f:
            for key in order:
                f.write(json.dumps(self.rows[key], ensure_ascii=False).encode() + b"\n")
            f.flush()
            os.fsync(f.fileno())

    def _read(self) -> int:
        """Rows of an earlier run; returns the number of bytes to keep (a torn last line is dropped)."""
        if not self.path.exists():
            return 0
        end = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                key, run, _ = row["key"], row["run"], row["status"]
            except (ValueError, KeyError, TypeError) as e:
                raise OutputError(f"-o: {self.path}:{number} is not a row of this log ({e}); {WAYS}") from e
            if run != self.run:
                raise OutputError(
                    f"-o: {self.path}:{number} was answered by another checkpoint, task version or setting "
                    f"({run}, this run is {self.run}); {WAYS}"
                )
            self.rows[key] = row
            end += len(line)
        return end


WAYS = "--fresh starts it anew, another -o DIR keeps it"
