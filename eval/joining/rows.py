"""Rows of CSV, JSONL and Parquet tables."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from mllm_avqa.schema.errors import ConfigError

FORMATS = (".csv", ".jsonl", ".parquet")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV (comma or semicolon), JSONL or Parquet table. Raises ConfigError with file and line."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist")
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ConfigError(f"{path}: the ending must be one of {' '.join(FORMATS)}")
    if ending == ".parquet":
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table

        try:
            rows: list[dict[str, Any]] = read_table(path).to_pylist()
        except (ArrowException, OSError) as e:
            raise ConfigError(f"{path}: not a Parquet table: {e}") from e
        return rows
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not UTF-8 text: byte {e.start} is {e.object[e.start]:#04x}") from e
    return _csv(text) if ending == ".csv" else _jsonl(text, path)


def number(value: Any, where: str) -> float | None:
    """A number, or None for an empty cell, NaN and infinity. Raises ConfigError for anything else."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "none", "null", "na")):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{where}: {value!r} is not a number") from e
    return found if math.isfinite(found) else None


def _csv(text: str) -> list[dict[str, Any]]:
    head = text.split("\n", 1)[0]
    semicolon = ";" in head and "," not in head
    rows: list[dict[str, Any]] = list(
        csv.DictReader(text.splitlines(keepends=True), delimiter=";" if semicolon else ",")
    )
    if semicolon:  # such tables write 3,5 for 3.5
        rows = [{k: _point(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    return rows


def _point(cell: str) -> str:
    return cell.replace(",", ".") if cell.count(",") == 1 and cell.replace(",", "").lstrip("-").isdigit() else cell


def _jsonl(text: str, path: Path) -> list[dict[str, Any]]:
    rows = []
    for line_number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as e:
                raise ConfigError(f"{path}:{line_number}: not JSON: {e.msg}") from e
            if not isinstance(row, dict):
                raise ConfigError(f"{path}:{line_number}: a row must be an object, not {type(row).__name__}")
            rows.append(row)
    return rows
