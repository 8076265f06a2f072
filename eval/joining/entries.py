"""Rows of anybody's table, or records, as entries: the names of a clip, its numbers, and how sure they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eval.joining.rows import number, read_rows
from eval.joining.tools import tool_rows, tools
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Label, Record, read_records

ID_COLUMNS = ("id", "name")
PATH_COLUMNS = ("path", "file", "media", "filename", "file_name", "video_name", "seq_name")
OVERALL = ("score", "mos", "dmos")  # names under which a table with one number per clip gives it
RECORD_PARTS = ("dataset", "split", "group")  # what records can be parted by


@dataclass(frozen=True)
class ColumnNames:
    """What the columns of a table mean; unset ones are looked for under their usual names.

    `scores`, `ci`, `std` and `votes` hold "ASPECT=COLUMN" or "COLUMN", which is the overall score for `scores` and
    every aspect for the others. `votes` may be a number instead of a column.
    """

    id: str | None = None
    scores: tuple[str, ...] = ()
    group: str | None = None
    by: str | None = None
    ci: tuple[str, ...] = ()  # half width of the 95 % interval of a label
    std: tuple[str, ...] = ()  # standard deviation of its votes, together with `votes`, their number
    votes: tuple[str, ...] = ()
    lower_is_better: bool | None = None


@dataclass(frozen=True)
class Vote:
    """How sure a label is, on the label's scale."""

    ci: float | None = None  # half width of the 95 % interval
    std: float | None = None
    votes: float | None = None


@dataclass
class Entry:
    """One clip of a table: its names and its numbers."""

    id: str | None
    paths: list[str]
    values: dict[str, float]
    group: str | None = None
    error: str | None = None  # the predictor failed on this clip
    empty: list[str] = field(default_factory=list)  # aspects whose cell holds NaN, infinity or nothing
    votes: dict[str, Vote] = field(default_factory=dict)
    part: str | None = None  # value of the column to report by

    @property
    def name(self) -> str:
        return self.id or (self.paths[0] if self.paths else "?")

    @property
    def bases(self) -> set[str]:
        return {p.replace("\\", "/").rsplit("/", 1)[-1] for p in self.paths}


def read_predictions(path: Path, columns: ColumnNames = ColumnNames()) -> tuple[list[Entry], list[str]]:
    """Predictions as entries, and notes: a table, or what another tool wrote (`tools.yaml`), unless columns are named.

    Raises ConfigError as `read_entries` does.
    """
    known = None if columns.id or columns.scores else tool_rows(path)
    if known is None:
        return read_entries(path, columns, flag="--pred-column"), []
    name, rows = known
    note = f"{path.name} is read as {tools()[name].about}: {', '.join(sorted({*rows[0]} - {'path'}))}"
    return read_entries(path, columns, flag="--pred-column", rows=rows), [note]


def read_entries(
    path: Path,
    columns: ColumnNames = ColumnNames(),
    *,
    flag: str = "--label-column",
    rows: list[dict[str, Any]] | None = None,
) -> list[Entry]:
    """A table as entries. Raises ConfigError when it has no column that names clips, or no aspect column.

    flag: the option that names score columns of this table, for messages; rows: instead of those of the file.
    """
    rows = read_rows(path) if rows is None else rows
    if not rows:
        raise ConfigError(f"{path} has no rows")
    table = _EntryTable(path, list(dict.fromkeys(c for row in rows for c in row if c)))
    ids, paths = table.names(columns.id)
    scores = table.scores(columns.scores, flag)
    if columns.lower_is_better is None:
        table.need_direction(scores)
    group, by = table.column(columns.group, "--group"), table.column(columns.by, "--by")
    spread = {a: _Spread.of(table, columns, a) for a in scores}
    sign = -1.0 if columns.lower_is_better else 1.0
    entries = []
    for line, row in enumerate(rows, 2 if path.suffix.lower() == ".csv" else 1):
        values: dict[str, float] = {}
        empty = []
        for aspect, column in scores.items():
            value = number(row.get(column), f"{path}: row {line}, column {column}")
            if value is None:
                empty.append(aspect)
            else:
                values[aspect] = sign * value
        failed = str(row.get("status") or "") == "error"
        entries.append(
            Entry(
                id=next((str(row[c]) for c in ids if _given(row.get(c))), None),
                paths=[str(row[c]) for c in paths if row.get(c)],
                values={} if failed else values,
                group=str(row[group]) if group is not None and _given(row.get(group)) else None,
                error=str(row.get("error_kind") or row.get("error") or "error") if failed else None,
                empty=empty,
                votes={a: s.read(row, f"{path}: row {line}") for a, s in spread.items()},
                part=str(row[by]) if by is not None and _given(row.get(by)) else None,
            )
        )
    return entries


def read_labels(path: Path, columns: ColumnNames = ColumnNames()) -> list[Entry]:
    """Labels from a record file (then on 1-5, with its groups) or from a table (then on the scale it is in).

    Raises ConfigError, for options that only a table can have too.
    """
    if path.suffix.lower() != ".jsonl" or not path.is_file() or not _is_records(path):
        return read_entries(path, columns)
    for value, flag in (
        (columns.id, "--id"),
        (columns.scores, "--label-column"),
        (columns.group, "--group"),
        (columns.ci, "--ci"),
        (columns.std, "--std"),
        (columns.lower_is_better, "--lower-is-better / --higher-is-better"),
    ):
        if value:
            raise ConfigError(f"{path} is a record file, which says this itself: leave {flag} out")
    if columns.by is not None and columns.by not in RECORD_PARTS:
        raise ConfigError(f"--by {columns.by}: records can be parted by {', '.join(RECORD_PARTS)}")
    if len(columns.votes) > 1:
        raise ConfigError(f"--votes {' '.join(columns.votes)}: a record file takes one number for all its labels")
    votes = number(columns.votes[0], "--votes") if columns.votes else None
    return [record_entry(r, columns.by, votes) for r in read_records(path)]


def record_entry(record: Record, by: str | None = None, votes: float | None = None) -> Entry:
    """A record as an entry on 1-5. votes: of every label that does not carry its own."""
    labels = {a: lb.mean_five for a, lb in record.labels.items()}
    sure = {a: _label_vote(lb, votes) for a, lb in record.labels.items()}
    part = getattr(record, by) if by is not None else None
    return Entry(record.id, [record.media], labels, record.group, votes=sure, part=None if part is None else str(part))


def _label_vote(label: Label, votes: float | None) -> Vote:
    count, std = votes, label.std
    if label.votes is not None and sum(label.votes) > 1.5:  # counts, not fractions
        shares = np.asarray(label.votes, float)
        count = float(shares.sum())
        if std is None and count > 1:
            at = np.linspace(*label.scale, len(shares))
            mean = float(shares @ at) / count
            std = float(np.sqrt(shares @ (at - mean) ** 2 / (count - 1)))
    return Vote(std=None if std is None else label.native.std_to_five(std), votes=count)


@dataclass
class _EntryTable:
    """A table's columns, found whatever their case is."""

    path: Path
    columns: list[str]

    def find(self, *names: str) -> list[str]:
        lower = {c.strip().lower(): c for c in reversed(self.columns)}
        return [c for n in names for c in [n if n in self.columns else lower.get(n.lower())] if c is not None]

    def column(self, name: str | None, flag: str) -> str | None:
        if name is None:
            return None
        if name not in self.columns:
            raise ConfigError(f"{self.path}: no column {name!r} ({flag}); it has {self.shown}")
        return name

    @property
    def shown(self) -> str:
        return ", ".join(self.columns[:20])

    def names(self, wanted: str | None) -> tuple[list[str], list[str]]:
        """Columns of ids and of paths. A wanted column that holds paths is matched by them as well."""
        if wanted is not None and wanted in self.columns:
            return [wanted], [wanted]
        ids, paths = self.find(*ID_COLUMNS), self.find(*PATH_COLUMNS)
        if not ids and not paths:
            raise ConfigError(
                f"{self.path}: no column of {', '.join(ID_COLUMNS + PATH_COLUMNS)} names the clips (--id COLUMN); it "
                f"has {self.shown}. A table needs a first line with the names of its columns"
            )
        return ids, paths

    def pairs(self, wanted: tuple[str, ...], flag: str) -> list[tuple[str, str]]:
        """(aspect, column) of "ASPECT=COLUMN", ("", column) of "COLUMN"."""
        found: list[tuple[str, str]] = []
        for item in wanted:
            aspect, _, column = ("", "", item) if item in self.columns else item.rpartition("=")
            if aspect and aspect not in ASPECTS:
                raise ConfigError(f"{flag} {item}: {aspect!r} is no aspect; allowed are {', '.join(ASPECTS)}")
            found.append((aspect, column))
        return found

    def scores(self, wanted: tuple[str, ...], flag: str) -> dict[str, str]:
        """Column of every aspect."""
        found: dict[str, str] = {}
        for aspect, column in self.pairs(wanted, flag):
            self.column(column, flag)
            found[aspect or "overall"] = column
        if found:
            return found
        found = {a: c[0] for a in ASPECTS for c in [self.find(a)] if c}
        if not found:
            found = dict(zip(("overall",), self.find(*OVERALL), strict=False))
        if not found:
            raise ConfigError(
                f"{self.path}: no column of {', '.join(ASPECTS + OVERALL)} holds scores ({flag} COLUMN); it has "
                f"{self.shown}"
            )
        return found

    def need_direction(self, scores: dict[str, str]) -> None:
        for column in scores.values():
            if "dmos" in column.lower():
                raise ConfigError(
                    f"{self.path}: column {column!r} may fall with quality (LIVE) or rise with it (KADID-10k): say "
                    "--lower-is-better or --higher-is-better"
                )


@dataclass
class _Spread:
    """Where a row tells how sure one aspect's label is."""

    ci: str | None
    std: str | None
    votes: str | float | None

    @classmethod
    def of(cls, table: _EntryTable, columns: ColumnNames, aspect: str) -> _Spread:
        def name(wanted: tuple[str, ...], flag: str) -> str | None:
            pairs = dict(table.pairs(wanted, flag))
            return pairs.get(aspect, pairs.get(""))

        if bool(columns.std) != bool(columns.votes):
            raise ConfigError("--std and --votes give the uncertainty of labels together: name both, or --ci alone")
        votes: str | float | None = name(columns.votes, "--votes")
        if isinstance(votes, str) and votes not in table.columns and votes.replace(".", "", 1).isdigit():
            votes = float(votes)
        elif isinstance(votes, str):
            votes = table.column(votes, "--votes")
        ci, std = (table.column(name(w, f), f) for w, f in ((columns.ci, "--ci"), (columns.std, "--std")))
        return cls(ci, std, votes)

    def read(self, row: dict[str, Any], where: str) -> Vote:
        ci, std = (number(row.get(c), f"{where}, column {c}") if c else None for c in (self.ci, self.std))
        for value, column in ((ci, self.ci), (std, self.std)):
            if value is not None and value < 0:
                raise ConfigError(f"{where}, column {column}: {value} is negative")
        votes = self.votes
        if isinstance(votes, str):
            votes = number(row.get(votes), f"{where}, column {votes}")
        return Vote(ci, std, votes)


def _given(value: Any) -> bool:
    return value is not None and value != ""


def _is_records(path: Path) -> bool:
    with path.open(encoding="utf-8-sig") as f:
        first = next((line for line in f if line.strip()), "{}")
    try:
        row = json.loads(first)
    except json.JSONDecodeError:
        return False
    return isinstance(row, dict) and {"id", "media", "dataset"} <= set(row)
