"""What was made once and is not made again: rows of a run that can be stopped (`Log`), and whole results (`Shelf`).

A key is the content that something was made of and a hash of the code that made it (`code`): the version of the package
is the same in every checkout, so it is no key.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from eval.writing import write_text
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file

DONE = ("answered", "unanswered", "unsupported")  # a row of another status is tried again
Json = dict[str, Any]


def digest(*parts: object) -> str:
    """Short hash of anything that JSON can write."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


ROOT = Path(__file__).resolve().parent.parent
MEASURING = ("mllm_avqa/schema", "mllm_avqa/media", "mllm_avqa/evidence", "mllm_avqa/context", "mllm_avqa/windows.py")
SCORING = (*MEASURING, "mllm_avqa/model", "mllm_avqa/corridor.py", "mllm_avqa/rater", "prompts")


@cache
def code(*parts: str, root: Path = ROOT) -> str:
    """Hash of source and prompts: files and folders of the repository, by name and content.

    Raises FileNotFoundError for one that is not there.
    """
    files: list[Path] = []
    for part in parts:
        place = root / part
        files += [place] if place.is_file() else sorted(p for k in ("*.py", "*.yaml") for p in place.rglob(k))
        if not place.exists():
            raise FileNotFoundError(place)
    return digest([[p.relative_to(root).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest()] for p in files])


class Shelf:
    """Results that JSON can write, a file each. code: of what makes them; fresh: nothing that is there is taken."""

    def __init__(self, folder: Path, code: str, *, fresh: bool = False) -> None:
        self.folder, self.code, self.fresh = folder, code, fresh

    def path(self, *parts: object) -> Path:
        """Where the result of this content is, or will be."""
        return self.folder / f"{digest(self.code, *parts)}.json"

    def get(self, *parts: object) -> Any:
        """None where there is none."""
        path = self.path(*parts)
        return json.loads(path.read_bytes()) if path.is_file() and not self.fresh else None

    def put(self, value: object, *parts: object) -> None:
        """Written whole or not at all. Raises OutputError."""
        write_text(self.path(*parts), json.dumps(value, ensure_ascii=False))


class Log:
    """Use it in a `with` block. Rows of this run are in `rows` by key.

    Raises OutputError on entry for a file in use, of another run, or not of this program.
    """

    def __init__(self, path: Path, run: str, *, fresh: bool = False) -> None:
        self.path, self.run, self.fresh = path, run, fresh
        self.rows: dict[str, Json] = {}

    def __enter__(self) -> Log:
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as e:
            raise OutputError(f"-o: another run is writing this output (it holds {self._lock.lock_file})") from e
        except OSError as e:
            raise OutputError(f"-o: can not write in {self.path.parent}: {e.strerror}") from e
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

    def add(self, key: str, row: Json) -> None:
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
