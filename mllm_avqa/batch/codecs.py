"""Rows to bytes and back, for the two formats that can be appended to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from mllm_avqa.batch.rows import COLUMNS

_NEEDED = {"path", "file", "user_text", "content_hash", "status", "fingerprint"}
Cells = dict[str, Any]  # one row: Row.model_dump(), plus "rating" in a full JSONL


class Codec(Protocol):
    """`header` opens a new file; `split` cuts a file into whole records and drops what a kill tore off."""

    header: bytes
    prefix: bytes  # how every record begins, as far as that is known

    def encode(self, cells: Cells) -> bytes: ...

    def split(self, f: BinaryIO) -> Iterator[bytes]:
        """Complete records (header left out), each with its line end; stops before a torn one."""
        ...

    def decode(self, record: bytes) -> Cells:
        """Raises ValueError for bytes that are not a row of this package."""
        ...


class JsonLines:
    """One JSON object per line."""

    header = b""
    prefix = b'{"path": '

    def encode(self, cells: Cells) -> bytes:
        return json.dumps(cells, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    def split(self, f: BinaryIO) -> Iterator[bytes]:
        for line in f:
            if line.endswith(b"\n"):
                yield line

    def decode(self, record: bytes) -> Cells:
        cells = json.loads(record)
        if not isinstance(cells, dict) or not cells.keys() >= _NEEDED:
            raise ValueError("it lacks columns every row has")
        return cells


class Csv:
    """RFC 4180 with a header; None is an empty cell. A record may span lines inside quotes."""

    prefix = b""

    def __init__(self) -> None:
        self.header = self._line(list(COLUMNS))

    def encode(self, cells: Cells) -> bytes:
        return self._line(["" if cells[c] is None else cells[c] for c in COLUMNS])

    def split(self, f: BinaryIO) -> Iterator[bytes]:
        first = f.readline()
        if first != self.header and (first.endswith(b"\n") or not self.header.startswith(first)):
            raise ValueError("its columns are not those of this version")
        record = b""
        for line in f:
            record += line
            # A record ends at a line end outside quotes: an even number of quotes so far.
            if record.count(b'"') % 2 == 0 and record.endswith(b"\n"):
                yield record
                record = b""

    def decode(self, record: bytes) -> Cells:
        values = next(csv.reader(io.StringIO(record.decode(), newline="")))
        if len(values) != len(COLUMNS):
            raise ValueError(f"{len(values)} cells, expected {len(COLUMNS)}")
        return {c: v if v != "" else None for c, v in zip(COLUMNS, values, strict=True)}

    @staticmethod
    def _line(values: list[Any]) -> bytes:
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerow(values)
        return out.getvalue().encode()
