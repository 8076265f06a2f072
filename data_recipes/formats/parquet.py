"""Records as Parquet: column by column for pandas, DuckDB and `datasets`, and back without a difference.

The Arrow types come from the pydantic models, so that a new field of `Record` reaches Parquet files without a line of
code here. What Parquet and `datasets` can hold differs from JSON in two ways: there are no dictionaries with free keys,
and a column has one type. A `dict[str, X]` is therefore a list of {key, value} (order kept), and `float | str` a struct
with one of two fields filled.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from data_recipes.formats.files import PARQUET, replacing
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

log = logging.getLogger(__name__)
GROUP = 2000  # rows held in memory at once and written as one row group: about 10 MB of synthesised records
Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Codec:
    """An Arrow type with the way there of a value dumped by pydantic, and the way back. Neither ever sees `None`."""

    type: pa.DataType
    encode: Convert
    decode: Convert


def same(value: Any) -> Any:
    return value


_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


@cache
def record_schema() -> pa.Schema:
    """The columns of a Parquet file of records."""
    return pa.schema(list(record_codec().type))


@cache
def record_codec() -> Codec:
    return codec(Record)


def codec(annotation: Any) -> Codec:
    """The codec of a type annotation. Raises TypeError for one that has no Arrow counterpart here."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _SCALARS:
        return Codec(_SCALARS[annotation], same, same)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _struct(annotation)
    if origin is Literal:
        (kind,) = {type(a) for a in arguments}
        return codec(kind)
    if origin in (Union, types.UnionType):
        inner = [a for a in arguments if a is not types.NoneType]
        if len(inner) == 1:
            return codec(inner[0])
        if set(inner) == {float, str}:
            return _number_or_text()
    if origin is list:
        return _list(codec(arguments[0]))
    if origin is tuple and len(set(arguments)) == 1:
        return _list(codec(arguments[0]))
    if origin is dict and arguments[0] is str:
        return _pairs(codec(arguments[1]))
    raise TypeError(f"no Arrow type for {annotation}")


def _struct(model: type[BaseModel]) -> Codec:
    fields = {name: codec(field.annotation) for name, field in model.model_fields.items()}
    for name, field in model.model_fields.items():
        # An empty cell is left to the default, so a field that may be None must have None as its default.
        if types.NoneType in get_args(field.annotation) and field.default is not None:
            raise TypeError(f"{model.__name__}.{name} may be None but has another default")

    encoders = {name: c.encode for name, c in fields.items() if c.encode is not same}
    decoders = {name: c.decode for name, c in fields.items() if c.decode is not same}

    def encode(value: dict[str, Any]) -> dict[str, Any]:
        return value | {name: f(value[name]) for name, f in encoders.items() if value[name] is not None}

    def decode(value: dict[str, Any]) -> dict[str, Any]:
        row = {name: v for name, v in value.items() if v is not None}
        return row | {name: f(row[name]) for name, f in decoders.items() if name in row}

    arrow = pa.struct([pa.field(name, c.type) for name, c in fields.items()])
    return Codec(arrow, encode if encoders else same, decode)


def _list(item: Codec) -> Codec:
    def encode(value: Any) -> list[Any]:
        return [item.encode(x) for x in value]

    def decode(value: list[Any]) -> list[Any]:
        return [item.decode(x) for x in value]

    plain = item.encode is same, item.decode is same
    return Codec(pa.list_(item.type), same if plain[0] else encode, same if plain[1] else decode)


def _pairs(value: Codec) -> Codec:
    return Codec(
        pa.list_(pa.struct([("key", pa.string()), ("value", value.type)])),
        lambda v: [{"key": k, "value": value.encode(x)} for k, x in v.items()],
        lambda v: {p["key"]: value.decode(p["value"]) for p in v},
    )


def _number_or_text() -> Codec:
    return Codec(
        pa.struct([("number", pa.float64()), ("text", pa.string())]),
        lambda v: {"number": None, "text": v} if isinstance(v, str) else {"number": float(v), "text": None},
        lambda v: v["number"] if v["text"] is None else v["text"],
    )


def to_row(record: Record) -> dict[str, Any]:
    """The record as plain lists and dicts of the columns of `arrow.record_schema`: what `datasets` gives and takes."""
    row: dict[str, Any] = record_codec().encode(record.model_dump())
    return row


def from_row(row: Mapping[str, Any]) -> Record:
    """A record from a row of `to_row`, `datasets` or Parquet. Raises pydantic's ValidationError."""
    return Record.model_validate(record_codec().decode(row))


def write_parquet(path: str | Path, records: Iterable[Record], group: int = GROUP) -> int:
    """Write records in row groups of `group` rows through a temporary file. Returns their number.

    Loads with `datasets.load_dataset("parquet", data_files=...)`. Raises OutputError when it can not be written.
    """
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
