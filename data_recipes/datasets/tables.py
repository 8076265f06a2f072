"""Text and workbook tables as rows: CSV, headerless lists, JSON lines, XLSX. One row at a time, nothing interpreted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_recipes.datasets.card import Table
from mllm_avqa.schema.errors import ConfigError

Cell = str | float | list[float]
BOM = "\ufeff"


@dataclass(frozen=True)
class Row:
    where: str  # "file:line", for messages
    cells: dict[str, Cell]


Reading = Callable[[Path, Table, frozenset[str]], Iterator[Row]]


def clean(cell: str) -> str:
    return cell.replace(BOM, "").strip()  # a BOM can sit inside the first value, not only before the first byte


def lines(path: Path) -> Iterator[str]:
    """Text lines, line ends kept. Raises ConfigError for what is not UTF-8 or has NUL bytes."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            for number, line in enumerate(f, 1):
                if "\0" in line:
                    raise ConfigError(f"{path}:{number}: NUL byte: this is no text table")
                yield line
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not UTF-8 text ({e.reason} at byte {e.start}); save it as UTF-8") from e
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e


def read_csv(path: Path, table: Table, needed: frozenset[str]) -> Iterator[Row]:
    """Rows of a CSV with a header line. Raises ConfigError for a broken line (with its number)."""
    text = lines(path)
    first = next(text, "")
    separator = table.separator or max(",;\t", key=first.count)
    cells = csv.reader((line for part in ([first], text) for line in part), delimiter=separator)
    try:
        header = [clean(c) for c in next(cells, [])]
        _check_header(path, header)
        header = [c or f"column {i}" for i, c in enumerate(header, 1)]
        if table.transposed:
            yield from _transposed(path, header, list(cells))
            return
        for line in cells:
            values = [clean(c) for c in line]
            if not any(values):
                continue
            if any(values[len(header) :]):
                raise ConfigError(f"{path}:{cells.line_num}: {len(values)} cells, the header has {len(header)}")
            values += [""] * (len(header) - len(values))
            yield Row(f"{path.name}:{cells.line_num}", dict(zip(header, values[: len(header)], strict=True)))
    except csv.Error as e:
        raise ConfigError(f"{path}:{cells.line_num}: {e}") from e


def _transposed(path: Path, header: list[str], rows: Sequence[Sequence[str]]) -> Iterator[Row]:
    names = [clean(r[0]) for r in rows if r]
    for column, clip in enumerate(header[1:], 1):
        values = [clean(r[column]) if column < len(r) else "" for r in rows if r]
        yield Row(f"{path.name}: column {column + 1}", {header[0]: clip, **dict(zip(names, values, strict=True))})


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = sorted({c for c in header if header.count(c) > 1 and c})
    if not any(header):
        raise ConfigError(f"{path}: empty, or its first line is no header")
    if twice:
        raise ConfigError(f"{path}:1: columns named twice: {', '.join(twice)}")


def read_headerless(path: Path, table: Table, needed: frozenset[str]) -> Iterator[Row]:
    """Rows of a list without a header, split from the right: only the first column may hold the separator."""
    separator, names = table.separator or ",", list(table.columns or ())
    for number, line in enumerate(lines(path), 1):
        if not clean(line):
            continue
        values = [clean(c) for c in clean(line).rsplit(None if separator == " " else separator, len(names) - 1)]
        if len(values) != len(names):
            wanted = ", ".join(names)
            raise ConfigError(f"{path}:{number}: {len(values)} values in {line.strip()!r:.80}, expected: {wanted}")
        yield Row(f"{path.name}:{number}", dict(zip(names, values, strict=True)))


def read_jsonl(path: Path, table: Table, needed: frozenset[str]) -> Iterator[Row]:
    """Rows of JSON objects, one per line; lists of numbers stay lists."""
    for number, line in enumerate(lines(path), 1):
        if not clean(line):
            continue
        try:
            data = json.loads(clean(line))
        except json.JSONDecodeError as e:
            raise ConfigError(f"{path}:{number}: not JSON: {e.msg} at column {e.colno}") from e
        if not isinstance(data, dict):
            raise ConfigError(f"{path}:{number}: {type(data).__name__}, expected one object per line")
        yield Row(f"{path.name}:{number}", {clean(k): as_cell(v) for k, v in data.items()})


def as_cell(value: object) -> Cell:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return clean(str(value))
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53):
        return float(value)
    if isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        return [float(v) for v in value]
    return json.dumps(value, ensure_ascii=False)


def read_xlsx(path: Path, table: Table, needed: frozenset[str]) -> Iterator[Row]:
    """Rows of a worksheet; the header is the first row that has every needed column. Needs openpyxl."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as e:
        advice = "pip install openpyxl, or save the sheet as CSV beside it"
        raise ConfigError(f"{path}: reading a workbook needs openpyxl ({advice})") from e
    import zipfile

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, OSError) as e:
        raise ConfigError(f"{path}: not an XLSX workbook: {e}") from e
    try:
        if table.sheet and table.sheet not in book.sheetnames:
            raise ConfigError(f"{path}: no sheet {table.sheet!r}; it has: {', '.join(book.sheetnames)}")
        sheet = book[table.sheet] if table.sheet else book.worksheets[0]
        header: list[str] | None = None
        for number, raw in enumerate(sheet.iter_rows(values_only=True), 1):
            if header is None:
                names = [clean(str(v)) if v is not None else "" for v in raw]
                header = names if needed <= set(names) else None
            elif any(v not in (None, "") for v in raw):
                cells = {name: _workbook_cell(v) for name, v in zip(header, raw, strict=False) if name}
                yield Row(f"{path.name}:{number}", cells)
        if header is None:
            raise ConfigError(f"{path}: no row holds all of the columns {', '.join(sorted(needed))}")
    finally:
        book.close()


def _workbook_cell(value: object) -> Cell:
    cell = as_cell(value) if value is None or isinstance(value, str | int | float) else str(value)
    return f"{value}" if isinstance(value, int) else cell  # 1600 is a name as often as a number


def read_rows(path: Path, table: Table, needed: frozenset[str] = frozenset()) -> Iterator[Row]:
    """Rows of a label file, whatever its kind; the columns `needed` tell the header row of a workbook."""
    from data_recipes.datasets.matlab import read_live_image, read_mat

    readers: dict[str, Reading] = {
        "csv": read_csv,
        "headerless": read_headerless,
        "jsonl": read_jsonl,
        "xlsx": read_xlsx,
        "mat": read_mat,
        "live_image": read_live_image,
    }
    return readers[table.reader](path, table, needed)
