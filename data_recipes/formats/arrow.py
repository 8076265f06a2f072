"""Arrow types for pydantic models, so that a new field of `Record` reaches Parquet files without a line of code here.

What Parquet and `datasets` can hold differs from JSON in two ways: there are no dictionaries with free keys, and a
column has one type. A `dict[str, X]` is therefore a list of {key, value} (order kept), and `float | str` a struct with
one of two fields filled.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from mllm_avqa.schema.records import Record

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
