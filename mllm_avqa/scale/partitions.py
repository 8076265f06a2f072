"""A folder of Parquet partitions: each written whole, named by the rows in it, so that nothing stands in it twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mllm_avqa.batch.journal import Cells
from mllm_avqa.batch.outputs import parquet_schema
from mllm_avqa.batch.rows import COLUMNS
from mllm_avqa.batch.work import Job
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.plain import json_text, plain

if TYPE_CHECKING:
    import pyarrow as pa

IDENTITY = ("file", "user_text", "id", "start", "end", "repeat")  # of a row, whatever the bytes of its file
_TOLD = [*IDENTITY, "content_hash", "fingerprint"]


class Partitions:
    """What is in a folder, and what is put there. output: None keeps nothing."""

    def __init__(self, output: Path | None, fingerprint: str) -> None:
        self.output, self.fingerprint = output, fingerprint
        self._done = {_version(r) for r in _rated(output)} if output is not None else set()

    def current(self, job: Job) -> bool:
        """Is it there, rated with the same bytes and fingerprint?"""
        item = job.item
        told = {n: getattr(item, n) for n in IDENTITY} | {"file": plain(item.file)}
        return _version({**told, "content_hash": job.content_hash, "fingerprint": self.fingerprint}) in self._done

    def put(self, rows: list[Cells], given: pa.Schema) -> pa.Table:
        """The rows as a table, with the user's columns in the types they came with; written down as one partition."""
        table = _table(rows, given)
        if self.output is not None and len(table):
            import pyarrow.parquet as pq

            name = hashlib.sha256(b"".join(map(_version, table.select(_TOLD).to_pylist()))).hexdigest()[:24]
            with whole_file(self.output / f"part-{name}.parquet") as part:
                pq.write_table(table, part)
        return table


def _version(row: Cells) -> bytes:
    return _digest(row, _TOLD)


def _digest(row: Cells, names: Iterable[str]) -> bytes:
    return hashlib.blake2b(repr([row[n] for n in names]).encode(), digest_size=16).digest()


def _table(rows: list[Cells], given: pa.Schema) -> pa.Table:
    """Rows with the columns of `score`, then the user's with the types they came with, and the rating if it is told."""
    import pyarrow as pa

    own = parquet_schema()
    told = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    for name in told:
        source = name if name in given.names else name.split("_", 1)[-1]
        own = own.append(pa.field(name, given.field(source).type if source in given.names else pa.string()))
    nested = [{n: json_text(v) if n == "rating" and v is not None else v for n, v in row.items()} for row in rows]
    return pa.Table.from_pylist(nested, schema=own)


def _partitions(output: Path) -> list[Path]:
    """The older ones first."""
    return sorted(output.glob("part-*.parquet"), key=lambda p: (p.stat().st_mtime_ns, p.name))


def _rated(output: Path) -> Iterator[Cells]:
    import pyarrow.parquet as pq

    for path in _partitions(output):
        for row in pq.read_table(path, columns=[*_TOLD, "status"]).to_pylist():
            if row["status"] == "ok":
                yield row


def compact(output: Path) -> int:
    """Leave out of a folder's partitions what a newer row replaces; returns how many rows that were.

    An error row goes too: its clip is rated again.
    """
    import pyarrow.parquet as pq

    newest: dict[bytes, Path] = {}
    paths = _partitions(output)
    for path in paths:
        for row in pq.read_table(path, columns=list(IDENTITY)).to_pylist():
            newest[_digest(row, IDENTITY)] = path
    dropped = 0
    for path in paths:
        table = pq.read_table(path)
        rows = table.select([*IDENTITY, "status"]).to_pylist()
        keep = [r["status"] == "ok" and newest[_digest(r, IDENTITY)] == path for r in rows]
        dropped += keep.count(False)
        if not any(keep):
            os.unlink(path)
        elif not all(keep):
            with whole_file(path) as part:
                pq.write_table(table.filter(keep), part)
    return dropped
