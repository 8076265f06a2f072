"""The public schemas, with a unit and a sentence for every column of a row and every field of a rating."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from mllm_avqa.batch.rows import COLUMNS, FlatRow
from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.schema.names import ASPECTS
from mllm_avqa.schema.rating import Rating

What = Literal["row", "rating"]


class Described(NamedTuple):
    name: str
    kind: str
    unit: str
    what: str


def json_schema(what: What) -> dict[str, Any]:
    """JSON Schema (2020-12), each property with its `description` and `unit`."""
    if what == "row":
        schema = FlatRow.model_json_schema()
        optional = {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None}
        own = schema["properties"] | {name: dict(optional) for name in ALL_FACTS}
        schema["properties"] = {name: own[name] for name in COLUMNS}
        schema["additionalProperties"] = True  # the user's own columns
        parts = {"row": schema}
    else:
        schema = Rating.model_json_schema()
        parts = {"Rating": schema, **schema.get("$defs", {})}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    fields = _fields()
    for model, part in parts.items():
        for name, told in part.get("properties", {}).items():
            told.pop("title", None)
            unit, sentence = fields.get(model, {}).get(name, ("", ""))
            told |= {"description": sentence} | ({"unit": unit} if unit else {})
    return schema


def described(what: What) -> Iterator[Described]:
    """The same as lines of a table; fields of a nested model are called `Model.field`."""
    schema = json_schema(what)
    parts = {"": schema} | {f"{name}.": part for name, part in schema.get("$defs", {}).items()}
    for prefix, part in parts.items():
        for name, told in part.get("properties", {}).items():
            yield Described(prefix + name, _kind(told), told.get("unit", ""), told["description"])


def _fields() -> dict[str, dict[str, list[str]]]:
    fields: dict[str, dict[str, list[str]]] = yaml.safe_load(
        Path(__file__).with_name("fields.yaml").read_text(encoding="utf-8")
    )
    row: dict[str, list[str]] = {}
    for name, told in fields["row"].items():
        row |= {name.replace("*", a): told for a in ASPECTS} if "*" in name else {name: told}
    facts = {name: [f.unit, f"Measured: {f.what}."] for name, f in ALL_FACTS.items()}
    return fields | {"row": row | facts}


def _kind(told: dict[str, Any]) -> str:
    if "$ref" in told:
        return str(told["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in told:
        return " or ".join(_kind(t) for t in told["anyOf"])
    if "enum" in told:
        return "text"
    if told.get("type") == "array" and isinstance(told.get("items"), dict):
        return f"list of {_kind(told['items'])}"
    return {"string": "text", "object": "by name"}.get(str(told.get("type")), str(told.get("type", "any")))
