"""Matrix layout: clips along one side, subjects along the other, repetitions as blocks below each other."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Literal, get_args

from data_recipes.votes.cells import Sheet, VoteCells, number
from data_recipes.votes.long import role_of
from data_recipes.votes.table import Votes, VotesError, assemble
from mllm_avqa.schema.levels import Scale

Rows = Literal["auto", "clips", "subjects"]
SIDES: tuple[Rows, ...] = get_args(Rows)

_SUBJECT = re.compile(
    r"(subject|subj|sub|rater|observer|listener|participant|viewer|user|worker|s|p)[\s_.-]*\d+", re.IGNORECASE
)
_CLIP = re.compile(
    r"(clip|video|vid|pvs|src|image|img|file|seq|stimulus)[\s_.-]*\d+|.*\.[A-Za-z]\w{1,3}", re.IGNORECASE
)


def read_matrix(sheet: Sheet, scale: Scale, rows: Rows = "auto") -> Votes:
    """Votes of a matrix. Raises VotesError naming file, line, column and flag.

    A first line with names, and a first column with names, are optional. Blocks of repetitions have the same shape
    (and names) and are separated by a line of empty cells or of -1 only (the ITU demonstrations' format). Which side
    the clips are on comes from the names ("subject 7", "a.mp4", a corner cell "clip"); names that do not tell need
    `rows`; without any names rows are clips, as ITU-T P.910 and P.913 write them.
    """
    lines = [(n, cells) for n, cells in sheet]
    while lines and _is_gap(lines[-1][1], scale):
        lines.pop()
    lines = lines[next(i for i, (_, cells) in enumerate(lines) if any(cells)) :]
    has_header = _is_header(lines[0][1])
    (header_line, header), body = (lines[0], lines[1:]) if has_header else ((0, []), lines)
    if not body:
        raise VotesError(f"{sheet.path}: a header and no votes")
    width = len(body[0][1])
    named = _has_names(header, [cells for _, cells in body])
    corner = header[0] if len(header) == width and named else ""
    columns = header[len(header) - width + named :] if header else []
    if header and len(columns) != width - named:
        raise VotesError(f"{sheet.path}:{body[0][0]}: {width} cells where the header has {len(header)}")
    number_of = VoteCells(sheet, scale)
    row_names: list[str] = []
    row_of, column_of, scores = array("q"), array("q"), array("d")
    index, block = 0, 1
    for line, cells in body:
        if _is_gap(cells, scale):
            if index:
                _check_rows(sheet, line, index, row_names, block)
                index, block = 0, block + 1
            continue
        if len(cells) != width:
            comma = "; quote a decimal comma, or separate columns by ';'" if sheet.separator == "," else ""
            raise VotesError(f"{sheet.path}:{line}: {len(cells)} cells where the lines above have {width}{comma}")
        name = cells[0] if named else str(index + 1)
        if block == 1:
            row_names.append(name)
        elif index >= len(row_names) or row_names[index] != name:
            raise VotesError(f"{sheet.path}:{line}: repetition {block} has row {name!r} where repetition 1 has another")
        for column, text in enumerate(cells[named:]):
            scores.append(number_of(text, line, column + named, columns[column] if columns else ""))
            row_of.append(index)
            column_of.append(column)
        index += 1
    _check_rows(sheet, body[-1][0], index, row_names, block)
    column_names = columns or [str(i + 1) for i in range(width - named)]
    _check_unique(sheet, header_line, "column", column_names)
    _check_unique(sheet, body[0][0], "row", row_names)
    if rows == "auto":
        rows = _orientation(sheet, corner, columns, row_names if named else [])
    if rows == "clips":
        return assemble(row_names, column_names, row_of, column_of, scores, scale)
    return assemble(column_names, row_names, column_of, row_of, scores, scale)


def _is_gap(cells: Sequence[str], scale: Scale) -> bool:
    """Between two repetitions: nothing at all, or -1 alone (where -1 is no score)."""
    return not any(cells) or (scale.low > -1.0 and all(number(c) == -1.0 for c in cells))


def _is_header(cells: Sequence[str]) -> bool:
    """Names rather than votes; an empty or telling corner makes a header of numbers ("",101,102 or clip,1,2)."""
    return cells[0] == "" or role_of(cells[0]) is not None or any(number(c) is None for c in cells[1:])


def _has_names(header: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the first column holds names."""
    told = bool(header) and (header[0] == "" or role_of(header[0]) is not None or len(header) < len(body[0]))
    return told or any(number(cells[0]) is None for cells in body if cells)


def _orientation(sheet: Sheet, corner: str, columns: Sequence[str], rows: Sequence[str]) -> Rows:
    if not columns and not rows:
        return "clips"
    role = role_of(corner)
    if role in ("clip", "subject"):
        return "clips" if role == "clip" else "subjects"
    for names, other in ((columns, rows), (rows, columns)):
        subjects = bool(names) and all(_SUBJECT.fullmatch(n) for n in names)
        clips = bool(other) and all(_CLIP.fullmatch(n) for n in other)
        if subjects or clips:
            return "clips" if names is columns else "subjects"
    shown = ", ".join(repr(n) for n in (*columns[:2], *rows[:2]))
    raise VotesError(
        f"{sheet.path}: the names ({shown}) do not tell clips from subjects: --rows clips or --rows subjects"
    )


def _check_rows(sheet: Sheet, line: int, found: int, names: Sequence[str], block: int) -> None:
    if found != len(names):
        raise VotesError(f"{sheet.path}:{line}: repetition {block} has {found} rows, repetition 1 {len(names)}")


def _check_unique(sheet: Sheet, line: int, what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            problem = f"appears twice as the name of a {what}" if name else f"is no name of a {what}"
            raise VotesError(f"{sheet.path}:{line}: {name!r} {problem}")
        seen.add(name)
