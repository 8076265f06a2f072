"""`score --timeline`: facts and scores of every second of all clips, in one table beside the rows.

While a batch runs, `FILE.journal` holds a line of JSON for every clip; the table is written from it at the end.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import Any, BinaryIO

from mllm_avqa.batch.journal import Cells, whole_lines
from mllm_avqa.batch.lock import FileLock
from mllm_avqa.batch.manifests import Item
from mllm_avqa.batch.outputs import as_written, neutral
from mllm_avqa.report.timeline import SECONDS
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.plain import json_text, plain

WHO = ("path", "id", "start", "end")  # of the row that a second belongs to
_TEXTS = ("path", "id")
Block = dict[str, Any]  # WHO of one clip, and "seconds": a row for each


class ClipSeconds:
    """The seconds of a batch's clips; where they are asked for, a clip without them is rated again.

    Raises OutputError for a table that was not written by this version, or by another run at this moment.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path, self._journal = path, path.with_name(path.name + ".journal")
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            with _told(path):
                if fresh:
                    self._journal.unlink(missing_ok=True)
                elif path.exists() and not self._journal.exists():
                    with whole_file(self._journal) as part, part.open("wb") as f:
                        f.writelines(map(_line, _blocks(path)))
                end, self._has = _found(self._journal)
                self._f = self._journal.open("r+b" if self._journal.exists() else "w+b")
                self._f.truncate(end)
                self._f.seek(end)
        except BaseException:
            self._lock.release()
            raise

    def has(self, item: Item) -> bool:
        return _key({"path": plain(item.listed), "id": item.id, "start": item.start, "end": item.end}) in self._has

    def append(self, cells: Cells, seconds: list[Cells]) -> None:
        block = {name: cells[name] for name in WHO} | {"seconds": seconds}
        with _told(self.path):
            self._f.write(_line(block))
            self._f.flush()
        self._has.add(_key(block))

    def close(self) -> None:
        """Write the table, whatever ended the batch."""
        try:
            with _told(self.path):
                self._f.close()
                _write(self.path, self._journal)
                self._journal.unlink()
        finally:
            self._lock.release()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise OutputError(f"--timeline {path}: can not be written: {e.strerror or e}") from e
    except ValueError as e:  # of a reader
        raise OutputError(f"--timeline {path} exists and is not of this version: {e}; --fresh replaces it") from e


def _line(block: Block) -> bytes:
    return json_text(block).encode() + b"\n"


def _key(block: Block) -> str:
    """Of a block, a row of a batch or a row of the table."""
    return json_text([block[n] if n in _TEXTS or block[n] is None else float(block[n]) for n in WHO])


def _found(journal: Path) -> tuple[int, set[str]]:
    """Bytes of whole lines, and whose seconds they are."""
    if not journal.exists():
        return 0, set()
    with journal.open("rb") as f:
        lines = [(len(line), _key(json.loads(line))) for line in whole_lines(f)]
    return sum(n for n, _ in lines), {key for _, key in lines}


def _last_blocks(f: BinaryIO) -> Iterator[Block]:
    """Blocks that no later block of the same clip replaces."""
    last = {_key(json.loads(line)): n for n, line in enumerate(f)}
    f.seek(0)
    yield from (block for n, line in enumerate(f) if last[_key(block := json.loads(line))] == n)


def _write(path: Path, journal: Path) -> None:
    with whole_file(path) as part, journal.open("rb") as f:
        rows = ({**{n: block[n] for n in WHO}, **row} for block in _last_blocks(f) for row in block["seconds"])
        if path.suffix.lower() == ".csv":
            with part.open("w", encoding="utf-8", newline="") as out:
                writer = csv.DictWriter(out, (*WHO, *SECONDS), lineterminator="\n")
                writer.writeheader()
                writer.writerows({name: neutral(value) for name, value in row.items()} for row in rows)
        else:
            _write_parquet(part, rows)


def _write_parquet(part: Path, rows: Iterable[Cells]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(n, pa.string() if n in _TEXTS else pa.float64()) for n in (*WHO, *SECONDS)])
    with parquet.ParquetWriter(str(part), schema) as writer:
        for _, group in groupby(enumerate(rows), lambda at: at[0] // 10_000):
            writer.write_table(pa.Table.from_pylist([row for _, row in group], schema=schema))


def _blocks(path: Path) -> Iterator[Block]:
    """The clips of a table that was written before."""
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _parquet_rows(path)
    first = next(rows, None)
    if first is not None and tuple(first) != (*WHO, *SECONDS):
        raise ValueError("other columns")
    for _, group in groupby(chain([first] if first else [], rows), _key):
        seconds = list(group)
        yield {n: seconds[0][n] for n in WHO} | {"seconds": [{n: s[n] for n in SECONDS} for s in seconds]}


def _csv_rows(path: Path) -> Iterator[Cells]:
    with path.open(encoding="utf-8", newline="") as f:
        for row in csv.DictReader(f):
            yield {n: as_written(v) if n in _TEXTS else float(v) if v else None for n, v in row.items()}


def _parquet_rows(path: Path) -> Iterator[Cells]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(10_000):
            yield from batch.to_pylist()
