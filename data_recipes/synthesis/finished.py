"""The folder of a finished set: a sidecar per clip, what the set was made of, and one digest over everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.records import Record

RECORDS = "records.jsonl"
SET = "set.json"


class Made(BaseModel):
    """What a set was made of, as given by the user: enough to plan its clips again."""

    model_config = ConfigDict(extra="forbid")

    recipe: str
    seed: int
    sources: list[str]
    labels: str  # the pseudo-MOS model in words
    digest: str


def sidecar(out: Path, index: int) -> Path:
    """The JSON file with record, plan key and ceilings of clip `index`."""
    return out / "parts" / f"{index:06d}.json"


def read_sidecar(out: Path, index: int) -> dict[str, Any] | None:
    """Its content, or None when it is missing or damaged."""
    try:
        row: dict[str, Any] = json.loads(sidecar(out, index).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return row if {"key", "bytes", "record", "family", "ceilings"} <= row.keys() else None


def index_of(record: Record) -> int | None:
    """Number of the clip of a synthesised record, None for a record of another origin."""
    stem = Path(record.media).stem
    return int(stem) if stem.isdecimal() else None


def families_and_ceilings(out: Path, records: Iterable[Record]) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """Family and source ceilings by record id, for the records that have a sidecar in `out`."""
    families, ceilings = {}, {}
    for record in records:
        index = index_of(record)
        row = None if index is None else read_sidecar(out, index)
        if row is not None and row["record"].get("id") == record.id:
            families[record.id], ceilings[record.id] = row["family"], row["ceilings"]
    return families, ceilings


def digest(out: Path, records: Iterable[Record]) -> str:
    """SHA-256 over records.jsonl and all clips in order of the records, 64 hex digits: equal for equal sets."""
    total = hashlib.sha256()
    for name in (RECORDS, *(r.media for r in records)):
        with (out / name).open("rb") as f:
            total.update(f"{name} {hashlib.file_digest(f, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def write_made(out: Path, made: Made) -> None:
    """Write `out`/set.json."""
    with whole_file(out / SET) as part:
        part.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_made(out: Path) -> Made | None:
    """What `out`/set.json says, None without the file. Raises ConfigError for a damaged one."""
    path = out / SET
    if not path.is_file():
        return None
    try:
        return Made.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as e:
        raise ConfigError(f"{path}: {e.errors()[0]['loc']}: {e.errors()[0]['msg']}") from e
