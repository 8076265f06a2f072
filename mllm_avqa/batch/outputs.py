"""Where the rows go: a JSONL journal, from which CSV and Parquet are written at the end, or standard output."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from mllm_avqa.batch.gates import Gate
from mllm_avqa.batch.journal import WAYS, Cells, Journal, carried_by, read_rows
from mllm_avqa.batch.manifests import Item
from mllm_avqa.batch.rows import COLUMNS, FlatRow, json_line
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.plain import json_text

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".jsonl", ".csv", ".parquet")
STDOUT = Path("-")
_ROWS_PER_GROUP = 2000
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # how a cell begins that a spreadsheet would compute
_KIND = {name: str(field.annotation).split(" |")[0] for name, field in FlatRow.model_fields.items()}


class Rows(Protocol):
    """What a batch needs of an output."""

    tidy: bool  # False: stopped, a later run goes on

    def is_current(self, item: Item, content_hash: str) -> bool: ...

    def reason(self, item: Item) -> str | None: ...

    def append(self, cells: Cells) -> None: ...


class Printed:
    """Rows on standard output: nothing is known of an earlier run. Raises OutputError when nobody reads any more."""

    tidy = True

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def is_current(self, item: Item, content_hash: str) -> bool:
        return False

    def reason(self, item: Item) -> str | None:
        return None

    def append(self, cells: Cells) -> None:
        try:
            self._stream.write(json_line(cells))
            self._stream.flush()
        except OSError as e:
            raise OutputError(f"-o -: standard output can not be written: {e.strerror}") from e


def check_output(output: Path, *, full: bool = False) -> None:
    """Raises OutputError for what is no regular file, an ending that is no format, or `full` where it is flat."""
    if output == STDOUT:
        return
    if output.suffix.lower() not in FORMATS:
        raise OutputError(f"-o {output}: the ending must be one of {' '.join(FORMATS)}; - writes JSONL to stdout")
    if full and output.suffix.lower() != ".jsonl":
        raise OutputError(f"--full needs -o FILE.jsonl: {output.suffix} has no place for nested ratings")
    for path in {output, journal_path(output)}:
        if path.is_dir():
            raise OutputError(f"-o {path} is a directory")
        if path.exists() and not path.is_file():
            raise OutputError(f"-o {path} is a device or a pipe, which can not be continued; - writes JSONL to stdout")


def journal_path(output: Path) -> Path:
    """Where rows are appended while a batch runs: the output itself, or the journal beside a table."""
    return (
        output if output == STDOUT or output.suffix.lower() == ".jsonl" else output.with_name(output.name + ".journal")
    )


@contextmanager
def open_rows(
    output: Path, fingerprint: str, *, fresh: bool = False, stdout: BinaryIO | None = None, gate: Gate | None = None
) -> Iterator[Rows]:
    """The rows of an output. When the block ends well, a table is written from its journal, which then goes.

    Rows of a table without a journal are put back into one, so that it can be continued or extended. A block that was
    stopped sets `tidy = False`: the journal stays. Raises OutputError when an output can not be continued (see
    `Journal`).
    """
    if output == STDOUT:
        yield Printed(stdout or sys.stdout.buffer)
        return
    journal = journal_path(output)
    exported = journal != output
    earlier = (lambda: table_rows(output)) if exported and output.exists() else None
    with Journal(journal, fingerprint, fresh=fresh, earlier=earlier, gate=gate) as rows:
        yield rows
        if exported and rows.tidy:
            rows.settle()
            export(output)
            journal.unlink()
            rows.tidy = False


def export(output: Path) -> int:
    """Write a CSV or Parquet file from its journal as it stands, in one atomic replacement; returns the rows.

    Raises OutputError where there is neither journal nor file, or the file can not be written.
    """
    journal = journal_path(output)
    if not journal.is_file() and not output.is_file():
        raise OutputError(f"-o {output}: there is no journal {journal} to write it from")
    if journal == output or not journal.is_file():  # all is there already
        return sum(1 for _ in (read_rows if journal == output else table_rows)(output))
    write = _write_csv if output.suffix.lower() == ".csv" else _write_parquet
    try:
        with whole_file(output) as part:
            return write(part, lambda: read_rows(journal))
    except OSError as e:
        raise OutputError(
            f"-o {output}: can not be written: {e.strerror or e}; its rows are kept in {journal}, once it can, run the "
            "same command again"
        ) from e


# --- tables


Again = Callable[[], Iterable[Cells]]  # the rows, from the first, as often as it is called


def _write_csv(path: Path, rows: Again) -> int:
    """RFC 4180 with a header; None is an empty cell. Text that a spreadsheet would compute gets a ' before it.

    The user's own columns come last, as they are.
    """
    n, more = 0, _users(rows())
    with path.open("wb") as f:
        f.write(_csv_line([*COLUMNS, *more]))
        for cells in rows():
            f.write(_csv_line([*(neutral(cells.get(c)) for c in COLUMNS), *(_flat(cells.get(c)) for c in more)]))
            n += 1
    return n


def _users(rows: Iterable[Cells]) -> dict[str, set[type]]:
    """The user's columns in the order in which rows bring them, and what stands in each."""
    out: dict[str, set[type]] = {}
    for cells in rows:
        for name, value in carried_by(cells).items():
            out.setdefault(name, set()).update([type(value)] if value is not None else [])
    return out


def _flat(value: Any) -> Any:
    return json_text(value) if isinstance(value, list | dict | bool) else value


def _csv_line(values: Iterable[Any]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(values)  # so that a lone CR in a cell is quoted too
    return out.getvalue()[:-2].encode() + b"\n"


def neutral(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def as_written(cell: str) -> str | None:
    """What `neutral` was given; None for an empty cell."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell or None


def _write_parquet(path: Path, rows: Again) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    more = _users(rows())
    schema = parquet_schema(more)
    n, stream = 0, iter(rows())
    with pq.ParquetWriter(path, schema) as writer:
        while group := [_typed(cells, more) for cells in islice(stream, _ROWS_PER_GROUP)]:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            n += len(group)
    return n


def _typed(cells: Cells, more: Mapping[str, set[type]]) -> Cells:
    """The cells of a table row; a user's column of mixed values is text."""
    own = {c: cells.get(c) for c in COLUMNS}
    for c, kinds in more.items():
        value = cells.get(c)
        own[c] = json_text(value) if value is not None and _mixed(kinds) and not isinstance(value, str) else value
    return own


def _mixed(kinds: set[type]) -> bool:
    return kinds - {str} != set() and kinds not in ({bool}, {int}, {float}, {int, float})


def parquet_schema(more: Mapping[str, set[type]] | None = None) -> pa.Schema:
    """Arrow schema of a row: string, int64 and float64 columns, all nullable. more: the user's, by what is in them."""
    import pyarrow as pa

    kinds = {"float": pa.float64(), "int": pa.int64()}
    users = {frozenset({bool}): pa.bool_(), frozenset({int}): pa.int64(), frozenset({float}): pa.float64(),
             frozenset({int, float}): pa.float64()}  # fmt: skip
    own = [(name, kinds.get(_KIND.get(name, "float"), pa.string())) for name in COLUMNS]
    return pa.schema(
        [*own, *((name, users.get(frozenset(found), pa.string())) for name, found in (more or {}).items())]
    )


def table_rows(output: Path) -> Iterator[Cells]:
    """The rows of a table that this version or the one before wrote. Raises OutputError for any other file."""
    read = _read_csv if output.suffix.lower() == ".csv" else _read_parquet
    try:
        for cells in read(output):
            own = FlatRow(**{c: cells[c] for c in COLUMNS if cells[c] is not None}).model_dump()
            yield own | {c: v for c, v in carried_by(cells).items() if v is not None}
    except ValueError as e:  # of the reader, or of a cell that is no value of its column
        raise OutputError(
            f"-o {output} exists and can not be continued: {' '.join(str(e).split())[:200]} {WAYS}"
        ) from e


def _read_csv(output: Path) -> Iterator[Cells]:
    csv.field_size_limit(1 << 24)  # tables of the version before have cells of any length
    with output.open(encoding="utf-8", newline="") as f:
        reader = csv.reader(f)
        names = next(reader, [])
        _check_columns(names)
        own = len(COLUMNS)
        try:
            for row in reader:
                if len(row) != len(names):
                    raise ValueError(f"line {reader.line_num}: {len(row)} cells, expected {len(names)}")
                yield dict(zip(names, [*map(as_written, row[:own]), *(c or None for c in row[own:])], strict=True))
        except csv.Error as e:
            raise ValueError(f"line {reader.line_num}: {e}") from e


def _read_parquet(output: Path) -> Iterator[Cells]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(output) as table:
        _check_columns(table.schema_arrow.names)
        for batch in table.iter_batches(_ROWS_PER_GROUP):
            yield from batch.to_pylist()


def _check_columns(names: list[str]) -> None:
    if names[: len(COLUMNS)] != list(COLUMNS):
        raise ValueError("its columns are not those of this version")
