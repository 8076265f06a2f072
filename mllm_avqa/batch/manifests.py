"""Lists of clips with the user's own columns: .txt, .csv, .tsv, .jsonl, .parquet. Streamed, never held in memory."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from mllm_avqa.batch.rows import COLUMNS, LONGEST
from mllm_avqa.schema.errors import AvqaError, ConfigError, MediaNotFound
from mllm_avqa.schema.plain import plain, refused_url

LONGEST_LINE = 4_000_000  # bytes of one line of a manifest
LONGEST_TEXT = LONGEST  # characters of the text given with a clip
PREFIX = "manifest_"  # before the name of a user's column that a column of ours has too
OURS = frozenset(COLUMNS) | {"rating", "timeline"}
JSON_LINES = (".jsonl", ".ndjson")
TABLES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class ManifestColumns:
    """Which columns of a manifest say what. None: the column of the usual name, where there is one."""

    path_column: Annotated[str, typer.Option(help="Column of a manifest with the files.")] = "path"
    id_column: Annotated[
        str | None, typer.Option(help="... with the ids that rows are joined by; 'id' if there is one.")
    ] = None
    caption_column: Annotated[
        str | None, typer.Option(help="... with the text that belongs to a clip; 'text' if there is one.")
    ] = None
    start_column: Annotated[
        str | None, typer.Option(help="... with the second a clip's span starts at; 'start' if there is one.")
    ] = None
    end_column: Annotated[str | None, typer.Option(help="... with the second it ends at; 'end' if there is one.")] = (
        None
    )

    def of(self, role: str, names: Iterable[str]) -> str | None:
        """The column of a role in a manifest with these columns."""
        usual = {"path": "path", "id": "id", "caption": "text", "start": "start", "end": "end"}[role]
        given: str | None = getattr(self, f"{role}_column")
        return given if given is not None else usual if usual in names else None


Key = tuple[object, ...]


@dataclass(frozen=True)
class Item:
    """One clip to rate: the name the user wrote, where it lies, and what was given with it."""

    listed: str
    file: Path  # absolute, not resolved: two links to one file are two items
    user_text: str | None = None
    error: AvqaError | None = None  # what is wrong with the line of the manifest
    id: str | None = None
    start: float | None = None  # seconds of the span to rate; None: of the file
    end: float | None = None
    carried: Mapping[str, Any] = field(default_factory=dict, compare=False)  # the user's columns, as rows call them
    line: int | None = None  # of the manifest
    repeat: int | None = None  # 2 for the second line that says all of this, 3 for the third

    @property
    def key(self) -> Key:
        """Equal keys, one row."""
        return (plain(self.file), self.user_text, self.id, self.start, self.end, self.repeat)

    @property
    def same_clip(self) -> Key:
        """Equal ones are rated once, whatever their ids."""
        return (plain(self.file), self.user_text, None, self.start, self.end, None)


def numbered(items: Iterable[Item]) -> Iterator[Item | None]:
    """Every line of a manifest is a row, though it says what an earlier one says: it gets the number of its repetition.

    None in place of what is listed again on the command line.
    """
    seen: dict[int, int] = {}  # by hash: a list may be long
    for item in items:
        key = hash(item.key)
        n = seen[key] = seen.get(key, 0) + 1
        yield item if n == 1 else None if item.line is None else replace(item, repeat=n)


Line = tuple[int, Mapping[str, Any] | AvqaError]  # number of a line, and its cells or what is wrong with it


def read_manifest(manifest: Path, columns: ManifestColumns) -> Iterator[Item]:
    """Clips of a table, or of one path per line (.txt and other endings).

    A line that can be told apart but not rated (too long, nested too deep, a span that is none) is an item with an
    error. Raises ConfigError, with file and line, for a manifest that is not what its ending says.
    """
    base = Path(os.path.abspath(manifest)).parent
    try:
        if manifest.suffix.lower() == ".parquet":
            yield from items_of(manifest, base, columns, _parquet_lines(manifest))
            return
        with manifest.open("rb") as f:
            yield from items_of(manifest, base, columns, _text_lines(manifest, f, columns))
    except OSError as e:
        raise ConfigError(f"--manifest {manifest}: can not be read: {e.strerror or e}") from e


def items_of(manifest: Path, base: Path, columns: ManifestColumns, lines: Iterable[Line]) -> Iterator[Item]:
    """Clips of numbered cells. manifest: where they come from, for messages; base: what relative paths start from."""
    for number, cells in lines:
        where = f"{manifest}:{number}"
        if isinstance(cells, AvqaError):
            name = f"{manifest.name}:{number}"
            yield Item(name, base / name, error=cells, line=number)
            continue
        path = cells.get(columns.path_column)
        if not isinstance(path, str) or not path:
            kind = "is empty" if path in (None, "") else f"is no text: {path!r}"
            raise ConfigError(f"--manifest {where}: the path (--path-column {columns.path_column}) {kind}")
        role = {r: columns.of(r, cells) for r in ("id", "caption", "start", "end")}
        given = {r: None if c is None or cells.get(c) == "" else cells.get(c) for r, c in role.items()}
        refused = refused_url(path)
        error: AvqaError | None = MediaNotFound(f"{where}: {refused}") if refused else None
        text = given["caption"]
        if text is not None and not isinstance(text, str):
            raise ConfigError(f"--manifest {where}: {role['caption']!r} must be a string, not {type(text).__name__}")
        if text is not None and len(text) > LONGEST_TEXT:
            error = ConfigError(f"{where}: the text has {len(text)} characters, at most {LONGEST_TEXT}")
            text = text[:100]
        start = end = None
        try:
            start, end = (_seconds(where, r, role[r], given[r]) for r in ("start", "end"))
            if end is not None and end <= (start or 0.0):
                raise ConfigError(f"{where}: the span ends at {end:g} s, not after its start at {start or 0:g} s")
        except ConfigError as e:
            error = e
        yield Item(
            path,
            Path(os.path.normpath(base / path)),
            plain(text) if text else None,
            error,
            None if given["id"] is None else plain(str(given["id"])),
            start,
            end,
            _carried(manifest, cells, columns),
            number,
        )


def _carried(manifest: Path, cells: Mapping[str, Any], columns: ManifestColumns) -> dict[str, Any]:
    """Every column as it was written, under its name, or behind a prefix where a column of ours has that.

    Also those that are read: ours are numbers and cleaned texts, so `start` of 0 stands beside ours of 0.0. A path is
    told as it is.
    """
    out: dict[str, Any] = {}
    for name, value in cells.items():
        if name == columns.path_column == "path":
            continue
        told = f"{PREFIX}{name}" if name in OURS else name
        if told in OURS or (told != name and told in cells):
            raise ConfigError(
                f"--manifest {manifest}: columns {name!r} and {told!r} would be one in the rows; rename one"
            )
        out[plain(told)] = value
    return out


def _seconds(where: str, role: str, column: str | None, given: object) -> float | None:
    if given is None:
        return None
    try:
        value = float(given) if isinstance(given, str | int | float) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ConfigError(f"{where}: {column!r} must be seconds from 0 on, not {given!r} (--{role}-column)")
    return value


# ---- formats ----------------------------------------------------------------------------------------------------


def _text_lines(manifest: Path, f: BinaryIO, columns: ManifestColumns) -> Iterator[Line]:
    suffix = manifest.suffix.lower()
    if suffix in TABLES:
        yield from _table_lines(manifest, f, columns, TABLES[suffix])
        return
    for number, line in _lines(manifest, f):
        if isinstance(line, AvqaError):
            yield number, line
        elif not line.strip():
            continue
        elif suffix in JSON_LINES:
            yield number, _json_cells(manifest, number, line, columns)
        elif not line.startswith("#"):
            yield number, {columns.path_column: line.strip()}


def _lines(manifest: Path, f: BinaryIO) -> Iterator[tuple[int, str | AvqaError]]:
    """Decoded lines and their numbers; of a line without end no more than `LONGEST_LINE` bytes are held."""
    for number, line in enumerate(iter(lambda: f.readline(LONGEST_LINE), b""), 1):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (more := f.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
                pass
            yield number, ConfigError(f"{manifest}:{number}: longer than {LONGEST_LINE} bytes")
            continue
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as e:
            at = f"{e.reason} at byte {e.start} of the line"
            raise ConfigError(f"--manifest {manifest}:{number}: not UTF-8 text ({at})") from e


def _table_lines(manifest: Path, f: BinaryIO, columns: ManifestColumns, delimiter: str) -> Iterator[Line]:
    def whole(lines: Iterator[tuple[int, str | AvqaError]]) -> Iterator[str]:
        for _, line in lines:
            if isinstance(line, AvqaError):
                raise ConfigError(f"--manifest {line}")
            yield line

    csv.field_size_limit(LONGEST_LINE)  # a process has one: ours is the larger
    try:
        reader = csv.DictReader(whole(_lines(manifest, f)), delimiter=delimiter)
        names = list(reader.fieldnames or [])
        _check_names(manifest, names, columns)
        for cells in reader:
            if None in cells:
                raise ConfigError(f"--manifest {manifest}:{reader.line_num}: more cells than columns ({len(names)})")
            yield reader.line_num, cells
    except csv.Error as e:
        raise ConfigError(f"--manifest {manifest}: not a {manifest.suffix[1:].upper()} file: {e}") from e


def _parquet_lines(manifest: Path) -> Iterator[Line]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(manifest) as table:
            names = table.schema_arrow.names
            number = 0
            for batch in table.iter_batches(1000):
                for cells in batch.to_pylist():
                    number += 1
                    yield number, {k: _plain_value(v) for k, v in cells.items()}
            if not number:
                _check_names(manifest, names, ManifestColumns())
    except pa.ArrowInvalid as e:
        raise ConfigError(f"--manifest {manifest}: not a Parquet file: {e}") from e


def _plain_value(value: Any) -> Any:
    """A cell as JSON can hold it: times and decimals as text."""
    return value if value is None or isinstance(value, str | bool | int | float | list | dict) else str(value)


def _check_names(manifest: Path, names: list[str], columns: ManifestColumns) -> None:
    given = {"path": columns.path_column} | {
        role: name
        for role in ("id", "caption", "start", "end")
        if (name := getattr(columns, f"{role}_column")) is not None
    }
    for role, name in given.items():
        if name not in names:
            there = names or "an empty file"
            raise ConfigError(f"--manifest {manifest}: no column {name!r}, only {there} (--{role}-column)")
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"--manifest {manifest}: two columns are called {twice[0]!r}")


def _json_cells(manifest: Path, number: int, line: str, columns: ManifestColumns) -> Mapping[str, Any] | AvqaError:
    where = f"--manifest {manifest}:{number}"
    try:
        data = json.loads(line, parse_int=_number)
    except json.JSONDecodeError as e:
        raise ConfigError(f"{where}: not JSON: {e.msg} at column {e.colno}") from e
    except RecursionError:
        return ConfigError(f"{manifest}:{number}: nested too deep")
    path = data.get(columns.path_column) if isinstance(data, dict) else None
    if not isinstance(path, str) or not path:
        raise ConfigError(f"{where}: no string {columns.path_column!r} in {line.strip()[:80]!r} (--path-column)")
    return {str(k): v for k, v in data.items()}


def _number(digits: str) -> int | str:
    """int() refuses thousands of digits: they are carried as text."""
    return int(digits) if len(digits) < 1000 else digits
