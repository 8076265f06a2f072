"""Files of predictions and labels -> matched pairs. What does not match, failed or has no score is counted by name."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mllm_avqa.errors import ConfigError
from mllm_avqa.levels import Scale
from mllm_avqa.rating import ASPECTS
from mllm_avqa.records import Record, read_records

FORMATS = (".csv", ".jsonl", ".parquet")
ID_COLUMNS = ("id", "name")
PATH_COLUMNS = ("path", "file", "media", "filename")
OVERALL = ("score", "mos")  # names under which a table with one number per clip gives it


@dataclass
class Entry:
    """One clip of a table: its names and its numbers."""

    id: str | None
    paths: list[str]
    values: dict[str, float]
    group: str | None = None
    error: str | None = None  # the predictor failed on this clip

    @property
    def name(self) -> str:
        return self.id or (self.paths[0] if self.paths else "?")

    @property
    def bases(self) -> set[str]:
        return {p.replace("\\", "/").rsplit("/", 1)[-1] for p in self.paths}


@dataclass
class Joined:
    """Labels with the prediction of the same clip, or None and the reason in `why`."""

    pairs: list[tuple[Entry, Entry | None]]
    unused: list[str]  # predictions that no label belongs to
    notes: list[str] = field(default_factory=list)

    @property
    def unmatched(self) -> list[str]:
        return [label.name for label, p in self.pairs if p is None]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV, JSONL or Parquet table. Raises ConfigError with file and line."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist")
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ConfigError(f"{path}: the ending must be one of {' '.join(FORMATS)}")
    if ending == ".parquet":
        from pyarrow.parquet import read_table

        rows: list[dict[str, Any]] = read_table(path).to_pylist()
        return rows
    with path.open(encoding="utf-8-sig", newline="" if ending == ".csv" else None) as f:
        if ending == ".csv":
            return list(csv.DictReader(f))
        rows = []
        for number, line in enumerate(f, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as e:
                    raise ConfigError(f"{path}:{number}: not JSON: {e.msg}") from e
                if not isinstance(row, dict):
                    raise ConfigError(f"{path}:{number}: a row must be an object, not {type(row).__name__}")
                rows.append(row)
        return rows


def read_entries(path: Path, group: str | None = None, lower_is_better: bool = False) -> list[Entry]:
    """A table as entries. Raises ConfigError when it has no column that names clips, or no aspect column."""
    rows = read_rows(path)
    if not rows:
        raise ConfigError(f"{path} has no rows")
    columns = list(dict.fromkeys(c for row in rows for c in row if c))
    ids = [c for c in ID_COLUMNS if c in columns]
    paths = [c for c in PATH_COLUMNS if c in columns]
    aspects: dict[str, str] = {a: a for a in ASPECTS if a in columns}
    for column in OVERALL if not aspects else ():
        if column in columns:
            aspects.setdefault("overall", column)
    shown = ", ".join(columns[:20])
    if not ids and not paths:
        raise ConfigError(
            f"{path}: no column of {', '.join(ID_COLUMNS + PATH_COLUMNS)} names the clips; it has {shown}"
        )
    if not aspects:
        raise ConfigError(f"{path}: no column of {', '.join(ASPECTS + OVERALL)} holds scores; it has {shown}")
    if group is not None and group not in columns:
        raise ConfigError(f"{path}: no column {group!r} (--group); it has {shown}")
    sign = -1.0 if lower_is_better else 1.0
    entries = []
    for number, row in enumerate(rows, 2 if path.suffix.lower() == ".csv" else 1):
        values: dict[str, float] = {}
        for aspect, column in aspects.items():
            value = _float(row.get(column), f"{path}: row {number}, column {column}")
            if value is not None:
                values[aspect] = sign * value
        failed = str(row.get("status") or "") == "error"
        entries.append(
            Entry(
                id=next((str(row[c]) for c in ids if row.get(c)), None),
                paths=[str(row[c]) for c in paths if row.get(c)],
                values={} if failed else values,
                group=str(row[group]) if group is not None and row.get(group) else None,
                error=str(row.get("error_kind") or row.get("error") or "error") if failed else None,
            )
        )
    return entries


def read_labels(path: Path, group: str | None = None, lower_is_better: bool = False) -> list[Entry]:
    """Labels from a record file (then on 1-5, with its groups) or from a table (then on the scale it is in)."""
    if path.suffix.lower() == ".jsonl" and path.is_file() and _is_records(path):
        return [record_entry(r) for r in read_records(path)]
    return read_entries(path, group, lower_is_better)


def record_entry(record: Record) -> Entry:
    labels: dict[str, float] = {
        a: Scale(*lb.scale, lb.higher_is_better).to_five(lb.mean) for a, lb in record.labels.items()
    }
    return Entry(record.id, [record.media], labels, record.group)


def join(predictions: list[Entry], labels: list[Entry]) -> Joined:
    """Match by id, then by path (or its ending), then by base name; a base name of several clips matches none."""
    notes = []
    by_id = _index(predictions, lambda e: [e.id] if e.id else [])
    by_path = _index(predictions, lambda e: e.paths)
    by_base = _index(predictions, lambda e: e.bases)
    shared = {b for b, found in _index(labels, lambda e: e.bases).items() if len(found) > 1}
    used: set[int] = set()
    pairs: list[tuple[Entry, Entry | None]] = []
    doubled = ambiguous = 0
    for label in labels:
        found = by_id.get(label.id or "", [])
        for p in label.paths if not found else []:
            found = by_path.get(p, [])
            if not found:
                tail = "/" + p.replace("\\", "/").lstrip("./")
                same = [i for b in [tail.rsplit("/", 1)[-1]] for i in by_base.get(b, [])]
                ends = [i for i in same if any(q.replace("\\", "/").endswith(tail) for q in predictions[i].paths)]
                found = ends if len({tuple(predictions[i].paths[-1:]) for i in ends}) == 1 else []
        if not found:
            for b in label.bases:
                candidates = by_base.get(b, [])
                if b in shared or len({tuple(predictions[i].paths[-1:]) for i in candidates}) > 1:
                    ambiguous += bool(candidates)
                else:
                    found = candidates
        doubled += len(found) > 1
        used.update(found)
        # A later row replaces an earlier one, as when a batch was run again; a failure never replaces a score.
        good = [i for i in found if predictions[i].error is None]
        pairs.append((label, predictions[(good or found)[-1]] if found else None))
    if doubled:
        notes.append(f"{doubled} clips have several predictions: the last one that did not fail counts")
    if ambiguous:
        notes.append(f"{ambiguous} clips share their base name with others and match nothing by id or path")
    unused = [e.name for i, e in enumerate(predictions) if i not in used]
    return Joined(pairs, unused, notes)


def _index(entries: list[Entry], keys: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, e in enumerate(entries):
        names: Iterable[str] = keys(e)
        for key in dict.fromkeys(names):
            found.setdefault(key, []).append(i)
    return found


def _is_records(path: Path) -> bool:
    with path.open(encoding="utf-8-sig") as f:
        first = next((line for line in f if line.strip()), "{}")
    try:
        row = json.loads(first)
    except json.JSONDecodeError:
        return False
    return isinstance(row, dict) and {"id", "media", "dataset"} <= set(row)


def _float(value: Any, where: str) -> float | None:
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "none", "null", "na")):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{where}: {value!r} is not a number") from e
    return number if math.isfinite(number) else None
