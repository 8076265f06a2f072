"""Outputs of other tools as rows of predictions: which tool wrote a file is seen by its columns (`tools.yaml`)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from eval.joining.rows import read_rows
from mllm_avqa.schema.errors import ConfigError

TABLES = (".csv", ".jsonl", ".parquet")
Rows = list[dict[str, Any]]


class ToolOutput(BaseModel):
    """One tool of `tools.yaml`."""

    model_config = ConfigDict(extra="forbid")

    about: str
    form: Literal["table", "list", "objects", "aligned", "log"]
    has: list[str] = []
    name: list[str] = []
    scores: dict[str, str] = {}
    levels: dict[str, str] = {}
    words: dict[str, float] = {}
    falling: list[str] = []

    def rows(self, path: Path, found: Rows) -> Rows:
        """Rows with `path` and a column per aspect, higher better."""
        parts = re.split(r"[^a-z0-9]+", path.stem.lower())
        sign = -1.0 if any(f in parts for f in self.falling) else 1.0
        return [{"path": self._named(path, row), **self._scored(row, sign)} for row in found]

    def _named(self, path: Path, row: dict[str, Any]) -> str:
        name = next((row[n] for n in self.name if row.get(n)), None)
        if name is None:
            raise ConfigError(f"{path}: a row of {self.about} names no clip ({', '.join(self.name)}): {sorted(row)}")
        return str(name)

    def _scored(self, row: dict[str, Any], sign: float) -> dict[str, Any]:
        given = {aspect: _deep(row, column) for aspect, column in self.scores.items()}
        for aspect, column in self.levels.items():
            given[aspect] = _expected(_deep(row, column), self.words)
        return {a: -v if isinstance(v, float) and sign < 0 else v for a, v in given.items()}


@cache
def tools() -> dict[str, ToolOutput]:
    found = yaml.safe_load(Path(__file__).with_name("tools.yaml").read_text(encoding="utf-8"))
    return {name: ToolOutput.model_validate(spec) for name, spec in found.items()}


def tool_rows(path: Path) -> tuple[str, Rows] | None:
    """The tool that wrote a file (or folder of logs) and its rows; None where no tool is recognised.

    Raises ConfigError for a file of a known tool that lacks what belongs to it.
    """
    if not path.exists():
        return None
    for form, read in READERS.items():
        found = read(path)
        for name, tool in tools().items() if found else ():
            if tool.form == form and found and set(tool.has) <= set(found[0]):
                if form == "aligned":
                    found = _beside(path, found)
                if form in ("log", "list"):
                    tool = tool.model_copy(update={"name": ["path"]})
                return name, tool.rows(path, found)
    return None


# ---- forms ----------------------------------------------------------------------------------------------------------


def _table(path: Path) -> Rows:
    if path.suffix.lower() not in TABLES or path.is_dir() or _objects(path):
        return []
    return [{k.strip(): v for k, v in row.items() if k} for row in read_rows(path)]


def _list(path: Path) -> Rows:
    """Lines of a name and a number, with a tab or comma between, none of them a header."""
    if path.is_dir() or path.suffix.lower() not in (".csv", ".txt", ".tsv"):
        return []
    pairs = []
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        name, _, score = line.strip().rpartition("\t" if "\t" in line else ",")
        if line.strip():
            try:
                pairs.append({"path": name, "score": float(score)})
            except ValueError:
                return []
    return pairs if all(p["path"] for p in pairs) else []


def _objects(path: Path) -> Rows:
    """JSON objects one behind another, on one line or several."""
    if path.is_dir() or path.suffix.lower() not in (".json", ".jsonl"):
        return []
    return list(_decoded(path.read_text(encoding="utf-8-sig", errors="replace")))


def _decoded(text: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while (at := _past(text, at)) < len(text):
        try:
            found, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return
        if isinstance(found, dict):
            yield found


def _past(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _logs(path: Path) -> Rows:
    """One clip a file, named like the clip."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.suffix.lower() == ".json" else []
    found = [(f, _objects(f)) for f in files]
    return [{"path": f.stem, **rows[0]} for f, rows in found if len(rows) == 1 and "pooled_metrics" in rows[0]]


def _beside(path: Path, found: Rows) -> Rows:
    """Rows with those of the list the tool was given: its output does not name the clips."""
    given = path.with_name(f"{path.stem}.input.jsonl")
    if not given.is_file():
        raise ConfigError(f"{path} does not name its clips; put the list it was made from beside it as {given.name}")
    asked = _objects(given)
    if len(asked) != len(found):
        raise ConfigError(f"{path} has {len(found)} rows, {given.name} has {len(asked)}; they must be in one order")
    return [{**a, **f} for a, f in zip(asked, found, strict=True)]


READERS = {"log": _logs, "objects": _objects, "aligned": _objects, "table": _table, "list": _list}


# ---- cells ----------------------------------------------------------------------------------------------------------


def _deep(row: dict[str, Any], column: str) -> Any:
    """A cell; `a.b` goes into objects where no column has that name."""
    if column in row:
        return row[column]
    found: Any = row
    for part in column.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _expected(logits: Any, words: dict[str, float]) -> float | None:
    """The mean worth of the level words under a softmax over them alone."""
    if not isinstance(logits, dict) or not set(words) <= set(logits):
        return None
    top = max(float(logits[w]) for w in words)
    weight = {w: math.exp(float(logits[w]) - top) for w in words}
    return sum(weight[w] * worth for w, worth in words.items()) / sum(weight.values())
