"""Labels of a user's clips beside their scores: rows that hold both, or a list of clips that is scored first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mllm_avqa.batch.engine import BatchOptions, run_batch
from mllm_avqa.batch.journal import Cells, read_rows
from mllm_avqa.batch.manifests import OURS, PREFIX, ManifestColumns, read_manifest
from mllm_avqa.batch.outputs import table_rows
from mllm_avqa.batch.work import Load
from mllm_avqa.schema.errors import ConfigError, OutputError


def scored(path: Path) -> Iterator[Cells]:
    """The rows of a finished output. Raises OutputError for any other file."""
    return read_rows(path) if path.suffix.lower() == ".jsonl" else table_rows(path)


def is_scored(path: Path) -> bool:
    """True for an output of `score`."""
    try:
        next(scored(path), None)
    except (OutputError, OSError):
        return False
    return True


def scored_labels(
    labels: Path, output: Path | None, columns: ManifestColumns, load: Load, options: BatchOptions
) -> Path:
    """The rows of labelled clips: `labels` itself when it holds scores, else those that are made in `output`."""
    if not labels.is_file():
        raise ConfigError(f"LABELS {labels}: no such file")
    if is_scored(labels):
        return labels
    target = output or labels.with_name(f"{labels.stem}.scores.jsonl")
    next(read_manifest(labels, columns), None)  # its errors show before a model is loaded
    run_batch(load, replace(options, output=target, manifest=labels, columns=columns))
    return target


def labelled(
    rows: Path, aspect: str, label_column: str, group_column: str | None, note: Callable[[str], None]
) -> tuple[list[float], list[float], list[str]]:
    """Scores, labels and contents of the rows that have both. Raises ConfigError for a missing column."""
    scores: list[float] = []
    labels: list[float] = []
    groups: list[str] = []
    left_out, names = 0, set()
    for cells in scored(rows):
        names |= cells.keys() - OURS
        label, score = _number(_cell(cells, label_column)), _number(cells[aspect])
        if label is None or score is None:
            left_out += 1
            continue
        scores.append(score)
        labels.append(label)
        groups.append(str(_cell(cells, group_column) if group_column else cells["file"]))
    for flag, column in (("--label-column", label_column), ("--group-column", group_column)):
        if column is not None and not names & {column, PREFIX + column}:
            there = ", ".join(sorted(names)) or "none of yours"
            raise ConfigError(f"{rows} has no column {column!r} ({flag}); there are: {there}")
    if left_out:
        note(f"{left_out} rows without a score for {aspect} or without a number in {label_column!r} are left out")
    return scores, labels, groups


def _cell(cells: Cells, column: str) -> Any:
    """A column of the user's, which may stand behind the prefix."""
    return cells.get(PREFIX + column) if PREFIX + column in cells or column in OURS else cells.get(column)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) != float("inf") else None
