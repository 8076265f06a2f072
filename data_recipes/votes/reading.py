"""A CSV file of votes -> `Votes`. Long: a line per vote. Matrix: clips along one side, subjects along the other."""

from __future__ import annotations

import logging
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import yaml

from data_recipes.votes.table import Sheet, VoteCells, Votes, VotesError, assemble, number
from mllm_avqa.schema.levels import Scale

log = logging.getLogger(__name__)

Layout = Literal["auto", "long", "matrix", "pairs"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Duplicates = Literal["refuse", "keep"]
DUPLICATES: tuple[Duplicates, ...] = get_args(Duplicates)
Side = Literal["auto", "clips", "subjects"]
SIDES: tuple[Side, ...] = get_args(Side)
FIVE = Scale(1.0, 5.0)

_SUBJECT = re.compile(
    r"(subject|subj|sub|rater|observer|listener|participant|viewer|user|worker|s|p)[\s_.-]*\d+", re.IGNORECASE
)
_CLIP = re.compile(
    r"(clip|video|vid|pvs|src|image|img|file|seq|stimulus)[\s_.-]*\d+|.*\.[A-Za-z]\w{1,3}", re.IGNORECASE
)


@dataclass(frozen=True)
class Columns:
    """Names of columns a user gave (--clip, --subject, --score, --repetition); None finds one by its usual names."""

    clip: str | None = None
    subject: str | None = None
    score: str | None = None
    repetition: str | None = None


def read_votes(
    path: str | Path,
    scale: Scale = FIVE,
    layout: Layout = "auto",
    columns: Columns | None = None,
    rows: Side = "auto",
    duplicates: Duplicates = "refuse",
) -> Votes:
    """Read votes. See `read_long` and `read_matrix` for what the layouts may look like.

    What a spreadsheet computed beside the votes (mean, MOS, std ...) is left out with a warning that names it.
    Raises VotesError with file, line, column and flag for anything that is not a vote inside `scale`, a second vote of
    a subject for a clip, names missing or not telling, and a file of pair comparisons (see `pairs`).
    """
    columns = columns or Columns()
    sheet = Sheet(Path(path))
    if layout == "auto":
        layout = layout_of(sheet, columns)
    if layout == "pairs":
        raise VotesError(f"{path} holds comparisons of pairs, not scores of clips: --layout pairs ranks them")
    return read_long(sheet, scale, columns, duplicates) if layout == "long" else read_matrix(sheet, scale, rows)


def layout_of(sheet: Sheet, columns: Columns) -> Layout:
    """PairVotes when a column is called other_...; long when clip and subject have columns; else a matrix."""
    line, header = next(sheet.lines(), (1, [""]))
    found = find_columns(header, columns, f"{sheet.path}:{line}")
    if any(name.lower().startswith("other_") for name in header):
        return "pairs"
    return "long" if {"clip", "subject"} <= found.keys() else "matrix"


@cache
def _known() -> Mapping[str, Sequence[str]]:
    """Usual names of columns by what they hold; the first that is there is taken."""
    told: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("columns.yaml").read_text(encoding="utf-8"))
    return told


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]", "", name.lower())


@cache
def role_of(name: str) -> str | None:
    """What a usual name stands for: "clip", "subject", "score", "repetition", "summary" or None."""
    return next((role for role, names in _known().items() if _plain(name) in names), None)


def _without_summaries(sheet: Sheet, what: str, names: Sequence[str]) -> list[int]:
    """Places of the names that are of votes. Those of summaries are told of; VotesError where nothing else is there."""
    kept = [i for i, name in enumerate(names) if role_of(name) != "summary"]
    if len(kept) < len(names):
        told = ", ".join(repr(name) for i, name in enumerate(names) if i not in set(kept))
        if not kept:
            raise VotesError(f"{sheet.path}: the {what}s ({told}) are summaries, not votes of people")
        log.warning("%s: %s %s left out: a summary of votes is nobody's vote", sheet.path, what, told)
    return kept


def find_columns(header: Sequence[str], given: Columns, where: str) -> dict[str, int]:
    """Role -> index in the header, for the roles that are there. Raises VotesError for a given name that is not."""
    found = {}
    plain = [_plain(name) for name in header]
    for role in ("clip", "subject", "score", "repetition"):
        wish = getattr(given, role)
        if wish is not None:
            if wish not in header:
                raise VotesError(f"{where}: no column {wish!r} (--{role}); there are: {', '.join(header)}")
            found[role] = list(header).index(wish)
        else:
            index = next((plain.index(n) for n in _known()[role] if n in plain), None)
            if index is not None and header[index] not in (given.clip, given.subject, given.score, given.repetition):
                found[role] = index
    return found


def read_long(sheet: Sheet, scale: Scale, given: Columns, duplicates: Duplicates) -> Votes:
    """Votes of a file with columns for clip, subject, score and perhaps repetition, in one pass.

    A second vote of a subject for a clip needs a repetition column that tells them apart, or duplicates="keep".
    Raises VotesError naming file, line, column and flag.
    """
    lines = sheet.lines()
    line, header = next(lines, (1, []))
    at = find_columns(header, given, f"{sheet.path}:{line}")
    for role in ("clip", "subject", "score"):
        if role not in at:
            raise VotesError(
                f"{sheet.path}:{line}: no column for the {role}: name it with --{role}; there are: {', '.join(header)}"
            )
    number_of = VoteCells(sheet, scale)
    ids: dict[str, dict[str, int]] = {"clip": {}, "subject": {}, "repetition": {}}
    columns = {role: array("q") for role in ids}
    line_of, scores = array("q"), array("d")
    summaries: dict[str, None] = {}
    for line, cells in lines:
        sheet.check_width(line, cells, len(header))
        named = {role: cells[at[role]] if role in at else "" for role in ids}
        if summary := next((named[r] for r in ("clip", "subject") if role_of(named[r]) == "summary"), None):
            summaries[summary] = None
            continue
        for role, name in named.items():
            if not name and role in at:
                raise VotesError(f"{sheet.place(line, at[role], header[at[role]])}: empty {role}")
            columns[role].append(ids[role].setdefault(name, len(ids[role])))
        scores.append(number_of(cells[at["score"]], line, at["score"], header[at["score"]]))
        line_of.append(line)
    _without_summaries(sheet, "line", [*ids["clip"], *summaries])
    if not scores:
        raise VotesError(f"{sheet.path}: a header and no votes")
    if duplicates == "refuse":
        _refuse_duplicates(sheet, columns, line_of, ids, "repetition" in at)
    return assemble([*ids["clip"]], [*ids["subject"]], columns["clip"], columns["subject"], scores, scale)


def _refuse_duplicates(
    sheet: Sheet, columns: dict[str, array[int]], line_of: array[int], ids: dict[str, dict[str, int]], told_apart: bool
) -> None:
    clip, subject, repetition = (np.asarray(columns[r], dtype=np.int64) for r in ("clip", "subject", "repetition"))
    order = np.lexsort((np.asarray(line_of), repetition, subject, clip))
    clip, subject, repetition = clip[order], subject[order], repetition[order]
    same = (np.diff(clip) == 0) & (np.diff(subject) == 0) & (np.diff(repetition) == 0)
    if same.any():
        first = int(np.flatnonzero(same)[0])
        one, two = line_of[order[first]], line_of[order[first + 1]]
        why = "in one repetition" if told_apart else "(--repetition names a column that tells them apart)"
        raise VotesError(
            f"{sheet.path}:{two}: subject {[*ids['subject']][subject[first]]!r} voted for clip "
            f"{[*ids['clip']][clip[first]]!r} on line {one} already {why}; {same.sum()} such votes in all; "
            "--duplicates keep counts every one"
        )


def read_matrix(sheet: Sheet, scale: Scale, rows: Side = "auto") -> Votes:
    """Votes of a matrix. Raises VotesError naming file, line, column and flag.

    A first line with names, and a first column with names, are optional. Blocks of repetitions have the same shape
    (and names) and are separated by a line of empty cells or of -1 only (the ITU demonstrations' format). Which side
    the clips are on comes from the names ("subject 7", "a.mp4", a corner cell "clip"); names that do not tell need
    `rows`; without any names rows are clips, as ITU-T P.910 and P.913 write them.
    """
    lines = list(sheet)
    while lines and _is_gap(lines[-1][1], scale):
        lines.pop()
    lines = lines[next(i for i, (_, cells) in enumerate(lines) if any(cells)) :]
    (header_line, header), body = (lines[0], lines[1:]) if _is_header(lines[0][1]) else ((0, []), lines)
    if not body:
        raise VotesError(f"{sheet.path}: a header and no votes")
    width = len(body[0][1])
    named = _has_names(header, [cells for _, cells in body])
    corner = header[0] if len(header) == width and named else ""
    columns = header[len(header) - width + named :] if header else []
    if header and len(columns) != width - named:
        raise VotesError(f"{sheet.path}:{body[0][0]}: {width} cells where the header has {len(header)}")
    used = _without_summaries(sheet, "column", columns) if columns else list(range(width - named))
    blocks = _blocks(sheet, body, width, named, scale)
    number_of = VoteCells(sheet, scale)
    row_of, column_of, scores = array("q"), array("q"), array("d")
    for block in blocks:
        for index, (line, cells) in enumerate(block):
            for place, column in enumerate(used):
                name = columns[column] if columns else ""
                scores.append(number_of(cells[column + named], line, column + named, name))
                row_of.append(index)
                column_of.append(place)
    row_names = [cells[0] if named else str(i + 1) for i, (_, cells) in enumerate(blocks[0])]
    column_names = [columns[i] if columns else str(i + 1) for i in used]
    _check_unique(sheet, header_line, "column", column_names)
    _check_unique(sheet, body[0][0], "row", row_names)
    if rows == "auto":
        rows = _orientation(sheet, corner, column_names if columns else [], row_names if named else [])
    if rows == "clips":
        return assemble(row_names, column_names, row_of, column_of, scores, scale)
    return assemble(column_names, row_names, column_of, row_of, scores, scale)


Line = tuple[int, list[str]]


def _blocks(sheet: Sheet, body: Sequence[Line], width: int, named: bool, scale: Scale) -> list[list[Line]]:
    """The repetitions, each as its lines, without lines of summaries; all have the rows of the first."""
    blocks: list[list[Line]] = [[]]
    for line, cells in body:
        if not _is_gap(cells, scale):
            sheet.check_width(line, cells, width, "the lines above have")
            blocks[-1].append((line, cells))
        elif blocks[-1]:
            blocks.append([])
    if named:
        kept = [_without_summaries(sheet, "row", [cells[0] for _, cells in block]) for block in blocks]
        blocks = [[block[i] for i in places] for block, places in zip(blocks, kept, strict=True)]
    first = [cells[0] if named else "" for _, cells in blocks[0]]
    for n, block in enumerate(blocks[1:], 2):
        for (line, cells), expected in zip(block, first, strict=False):
            if named and cells[0] != expected:
                raise VotesError(
                    f"{sheet.path}:{line}: repetition {n} has row {cells[0]!r} where repetition 1 has another"
                )
        if len(block) != len(first):
            where = f"{sheet.path}:{block[-1][0]}"
            raise VotesError(f"{where}: repetition {n} has {len(block)} rows, repetition 1 {len(first)}")
    return blocks


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


def _orientation(sheet: Sheet, corner: str, columns: Sequence[str], rows: Sequence[str]) -> Side:
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


def _check_unique(sheet: Sheet, line: int, what: str, names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            problem = f"appears twice as the name of a {what}" if name else f"is no name of a {what}"
            raise VotesError(f"{sheet.path}:{line}: {name!r} {problem}")
