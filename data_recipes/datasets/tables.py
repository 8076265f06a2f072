"""Label files as rows: CSV, headerless lists, JSON lines, XLSX, MATLAB. One row at a time, nothing interpreted."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_recipes.datasets.card import LabelTable
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

Cell = str | float | list[float]
BOM = "\ufeff"
LIVE_FOLDERS = (("jp2k", 227), ("jpeg", 233), ("wn", 174), ("gblur", 174), ("fastfading", 174))  # LIVE release 2 readme


@dataclass(frozen=True)
class LabelRow:
    where: str  # "file:line", for messages
    cells: dict[str, Cell]


Reading = Callable[[Path, LabelTable, frozenset[str]], Iterator[LabelRow]]


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


def read_csv(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
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
            yield LabelRow(f"{path.name}:{cells.line_num}", dict(zip(header, values[: len(header)], strict=True)))
    except csv.Error as e:
        raise ConfigError(f"{path}:{cells.line_num}: {e}") from e


def _transposed(path: Path, header: list[str], rows: Sequence[Sequence[str]]) -> Iterator[LabelRow]:
    names = [clean(r[0]) for r in rows if r]
    for column, clip in enumerate(header[1:], 1):
        values = [clean(r[column]) if column < len(r) else "" for r in rows if r]
        yield LabelRow(f"{path.name}: column {column + 1}", {header[0]: clip, **dict(zip(names, values, strict=True))})


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = sorted({c for c in header if header.count(c) > 1 and c})
    if not any(header):
        raise ConfigError(f"{path}: empty, or its first line is no header")
    if twice:
        raise ConfigError(f"{path}:1: columns named twice: {', '.join(twice)}")


def read_headerless(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
    """Rows of a list without a header, split from the right: only the first column may hold the separator."""
    separator, names = table.separator or ",", list(table.columns or ())
    for number, line in enumerate(lines(path), 1):
        if not clean(line):
            continue
        values = [clean(c) for c in clean(line).rsplit(None if separator == " " else separator, len(names) - 1)]
        if len(values) != len(names):
            wanted = ", ".join(names)
            raise ConfigError(f"{path}:{number}: {len(values)} values in {line.strip()!r:.80}, expected: {wanted}")
        yield LabelRow(f"{path.name}:{number}", dict(zip(names, values, strict=True)))


def read_jsonl(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
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
        yield LabelRow(f"{path.name}:{number}", {clean(k): as_cell(v) for k, v in data.items()})


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


def read_xlsx(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
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
                yield LabelRow(f"{path.name}:{number}", cells)
        if header is None:
            raise ConfigError(f"{path}: no row holds all of the columns {', '.join(sorted(needed))}")
    finally:
        book.close()


def _workbook_cell(value: object) -> Cell:
    cell = as_cell(value) if value is None or isinstance(value, str | int | float) else str(value)
    return f"{value}" if isinstance(value, int) else cell  # 1600 is a name as often as a number


def _variables(path: Path) -> dict[str, Any]:
    """Variables of a .mat file; fields of a struct as "struct.field". Raises ConfigError for other files."""
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        raw = loadmat(path, squeeze_me=True)
    except NotImplementedError as e:
        raise ConfigError(f"{path}: MATLAB 7.3 (HDF5); save it again with save(..., '-v7')") from e
    except (MatReadError, ValueError, TypeError, OSError) as e:
        raise ConfigError(f"{path}: not a MATLAB file: {e}") from e
    flat: dict[str, Any] = {}
    for name, value in raw.items():
        if name.startswith("__"):
            continue
        flat[name] = value
        if isinstance(value, np.ndarray) and value.ndim == 0:
            flat.update({f"{name}.{key}": value[key].item() for key in value.dtype.names or ()})
    return flat


def _vector(path: Path, variables: dict[str, Any], name: str) -> np.ndarray:
    """One variable, or column k of a matrix as "name:k", as a 1-D array."""
    import numpy as np

    variable, _, index = name.partition(":")
    if variable not in variables:
        raise ConfigError(f"{path}: no variable {variable!r}; it has: {', '.join(sorted(variables))}")
    value = np.atleast_1d(variables[variable])
    value = value[:, int(index)] if index and value.ndim == 2 else value
    if value.ndim != 1:
        raise ConfigError(f"{path}: {name} has shape {value.shape}, expected one value per clip")
    return value


def read_mat(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
    """Rows of equally long variables; `lookup` columns take a 1-based index into a table variable."""
    variables = _variables(path)
    named = table.columns if isinstance(table.columns, dict) else {}
    columns = {new: _vector(path, variables, old) for new, old in named.items()}
    for new, (names, index) in table.lookup.items():
        columns[new] = _vector(path, variables, names)[_vector(path, variables, index).astype(int) - 1]
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ConfigError(f"{path}: variables of different length: {lengths}")
    for number, values in enumerate(zip(*columns.values(), strict=True), 1):
        yield LabelRow(f"{path.name}: entry {number}", dict(zip(columns, map(_matlab_cell, values), strict=True)))


def read_live_image(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
    """Rows of LIVE image quality release 2: names follow from the folder sizes, references are marked in `orgs`."""
    labels, names = _variables(path), _variables(path.with_name("refnames_all.mat"))
    columns = [_vector(path, labels, v) for v in ("dmos_new", "dmos_std", "orgs")]
    references = _vector(path, names, "refnames_all")
    expected = sum(n for _, n in LIVE_FOLDERS)
    if {len(c) for c in (*columns, references)} != {expected}:
        raise ConfigError(f"{path}: {[len(c) for c in (*columns, references)]} entries, release 2 has {expected}")
    images = [f"{folder}/img{i}.bmp" for folder, n in LIVE_FOLDERS for i in range(1, n + 1)]
    for number, (image, reference, *values) in enumerate(zip(images, references, *columns, strict=True), 1):
        dmos, std, is_reference = map(float, values)
        cells: dict[str, Cell] = {"image": image, "reference": _matlab_cell(reference), "dmos": dmos, "std": std}
        yield LabelRow(f"{path.name}: entry {number}", {**cells, "is_reference": str(int(is_reference))})


FETV_CLIP, FETV_SCORE = re.compile(r"!\[\]\((assets/[^)]+)\)"), re.compile(r"(SQ|TQ|Alignment)=([0-9.]+)")


def read_fetv(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
    """Clips of FETV's page of examples: a line of a table has the clips of a prompt, the next one their scores."""
    clips: list[str] = []
    for number, line in enumerate(lines(path), 1):
        cells = line.strip().strip("|").split("|")[1:]
        found = [match[1] for cell in cells if (match := FETV_CLIP.search(cell))]
        if found:
            clips = found
        elif clips and "=" in line:
            for clip, cell in zip(clips, cells, strict=False):
                blank: dict[str, Cell] = {"SQ": "", "TQ": "", "Alignment": ""}
                yield LabelRow(f"{path.name}:{number}", {"clip": clip, **blank, **dict(FETV_SCORE.findall(cell))})
            clips = []


def read_vmaf(path: Path, table: LabelTable, needed: frozenset[str]) -> Iterator[LabelRow]:
    """Distorted clips of a data set file of VMAF: a Python file of plain values, which is read and never run."""
    try:
        tree = ast.parse("".join(lines(path)))
        named = {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in ("ref_videos", "dis_videos")
        }
        references = {Path(r["path"]).name: r["content_name"] for r in named["ref_videos"]}
        contents = {r["content_id"]: r["content_name"] for r in named["ref_videos"]}
        clips = [(Path(d["path"]), contents[d["content_id"]], d["dmos"]) for d in named["dis_videos"]]
    except (SyntaxError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{path}: no data set file of VMAF (ref_videos, dis_videos): {e!r}") from e
    for number, (clip, content, score) in enumerate(clips, 1):
        is_reference = str(int(clip.name in references))
        cells: dict[str, Cell] = {"stem": clip.stem, "content": content, "dmos": float(score)}
        yield LabelRow(f"{path.name}: entry {number}", {**cells, "is_reference": is_reference})


def _matlab_cell(value: Any) -> Cell:
    return clean(value) if isinstance(value, str) else float(value)


READERS: dict[str, Reading] = {
    "csv": read_csv,
    "headerless": read_headerless,
    "jsonl": read_jsonl,
    "xlsx": read_xlsx,
    "mat": read_mat,
    "live_image": read_live_image,
    "fetv": read_fetv,
    "vmaf": read_vmaf,
}


def read_rows(path: Path, table: LabelTable, needed: frozenset[str] = frozenset()) -> Iterator[LabelRow]:
    """Rows of a label file, whatever its kind; the columns `needed` tell the header row of a workbook."""
    return READERS[table.reader](path, table, needed)
