"""Records as Parquet: column by column for pandas, DuckDB and `datasets`, and back without a difference."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data_recipes.formats.files import PARQUET, replacing
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

log = logging.getLogger(__name__)
GROUP = 2000  # rows held in memory at once and written as one row group: about 10 MB of synthesised records


def to_row(record: Record) -> dict[str, Any]:
    """The record as plain lists and dicts of the columns of `arrow.record_schema`: what `datasets` gives and takes."""
    from data_recipes.formats.arrow import record_codec

    row: dict[str, Any] = record_codec().encode(record.model_dump())
    return row


def from_row(row: Mapping[str, Any]) -> Record:
    """A record from a row of `to_row`, `datasets` or Parquet. Raises pydantic's ValidationError."""
    from data_recipes.formats.arrow import record_codec

    return Record.model_validate(record_codec().decode(row))


def write_parquet(path: str | Path, records: Iterable[Record], group: int = GROUP) -> int:
    """Write records in row groups of `group` rows through a temporary file. Returns their number.

    Loads with `datasets.load_dataset("parquet", data_files=...)`. Raises OutputError when it can not be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data_recipes.formats.arrow import record_schema

    n, rows = 0, map(to_row, records)
    with (
        replacing(Path(path)) as part,
        pq.ParquetWriter(part, record_schema(), compression="zstd") as writer,
    ):
        while held := list(islice(rows, group)):
            writer.write_batch(pa.RecordBatch.from_pylist(held, record_schema()))
            n += len(held)
    return n


def read_parquet(path: str | Path, group: int = GROUP) -> Iterator[Record]:
    """Stream records from a Parquet file or, in the order of their names, the Parquet files of a folder.

    Columns that a record does not have are left out with a warning; columns that are missing take their defaults.
    Raises ConfigError with file and row for a row that is not a record.
    """
    path = Path(path)
    files = sorted(path.rglob("*" + PARQUET)) if path.is_dir() else [path]
    if not files or not all(f.is_file() for f in files):
        raise ConfigError(f"{path} is not a {PARQUET} file or a folder of them")
    for file in files:
        yield from _read(file, group)


def _read(path: Path, group: int) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data_recipes.formats.arrow import record_schema

    known = record_schema().names
    row = 0
    try:
        with pq.ParquetFile(path) as file:
            foreign = [name for name in file.schema_arrow.names if name not in known]
            if foreign:
                log.warning("%s: columns that records do not have are left out: %s", path, ", ".join(foreign))
            for batch in file.iter_batches(group, columns=known, use_threads=False):
                for values in batch.to_pylist():
                    yield from_row(values)
                    row += 1
    except pa.ArrowException as e:
        raise ConfigError(f"{path} is not a readable Parquet file: {e}") from e
    except (ValidationError, KeyError, TypeError, AttributeError) as e:
        raise ConfigError(f"{path}: row {row}: not a record: {_first(e)}") from e


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(x) for x in first['loc'])}: {first['msg']}"
    return f"unexpected structure ({type(error).__name__}: {error})"
