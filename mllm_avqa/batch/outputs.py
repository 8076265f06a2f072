"""The output formats behind one function: JSONL and CSV are appended to, Parquet is made from a journal at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mllm_avqa.batch.codecs import Cells, Codec, Csv, JsonLines
from mllm_avqa.batch.rowfile import RowFile
from mllm_avqa.batch.rows import COLUMNS, Row
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".jsonl", ".csv", ".parquet")
_ROWS_PER_GROUP = 2000


def check_output(output: Path, *, full: bool = False) -> None:
    """Raises OutputError for an ending that is not a format, or `full` where the format is flat."""
    if output.suffix.lower() not in FORMATS:
        raise OutputError(f"-o {output}: the ending must be one of {' '.join(FORMATS)}")
    if full and output.suffix.lower() != ".jsonl":
        raise OutputError(f"--full needs -o FILE.jsonl: {output.suffix} has no place for nested ratings")
    if output.is_dir():
        raise OutputError(f"-o {output} is a directory")


def journal_path(output: Path) -> Path:
    """Where rows are appended while a batch runs: the output itself, or the journal beside a Parquet file."""
    return output.with_name(output.name + ".journal") if output.suffix.lower() == ".parquet" else output


@contextmanager
def open_rows(output: Path, fingerprint: str, *, fresh: bool = False) -> Iterator[RowFile]:
    """The row file of an output. Raises OutputError when it can not be continued (see RowFile).

    Rows of an existing Parquet file are put back into the journal first, so that a run can be continued or extended.
    """
    journal = journal_path(output)
    codec: Codec = Csv() if output.suffix.lower() == ".csv" else JsonLines()
    restored = journal != output and output.exists() and not journal.exists() and not fresh
    if restored:
        _journal_from_parquet(output, journal)
    rows = RowFile(journal, codec, fingerprint, fresh=fresh)
    try:
        rows.open()
    except OutputError:
        if restored:
            journal.unlink()
        raise
    try:
        yield rows
    finally:
        rows.close()


def finish(output: Path, rows: RowFile) -> None:
    """Make the Parquet file from its journal, in one atomic replacement, and drop the journal; the others are done."""
    if rows.path == output:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema()
    with whole_file(output) as part, pq.ParquetWriter(part, schema) as writer:
        for group in _groups(rows.rows(), _ROWS_PER_GROUP):
            writer.write_table(pa.Table.from_pylist([{c: cells[c] for c in COLUMNS} for cells in group], schema=schema))
    rows.discard()


def parquet_schema() -> pa.Schema:
    """Arrow schema of `Row`: string, int64 and float64 columns, all nullable."""
    import pyarrow as pa

    kinds = {"float": pa.float64(), "int": pa.int64()}
    kind_of = {name: str(field.annotation).split(" |")[0] for name, field in Row.model_fields.items()}
    return pa.schema([(name, kinds.get(kind_of[name], pa.string())) for name in COLUMNS])


def _journal_from_parquet(output: Path, journal: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(output) as table, whole_file(journal) as part, part.open("wb") as f:
            if table.schema_arrow.names != list(COLUMNS):
                raise OutputError(f"-o {output}: its columns are not those of this version (--fresh, or another -o)")
            for batch in table.iter_batches(_ROWS_PER_GROUP):
                f.writelines(JsonLines().encode(cells) for cells in batch.to_pylist())
    except pa.ArrowInvalid as e:
        raise OutputError(f"-o {output} exists and is not a Parquet file (--fresh, or another -o)") from e


def _groups(cells: Iterable[Cells], size: int) -> Iterator[list[Cells]]:
    it = iter(cells)
    while group := list(islice(it, size)):
        yield group
