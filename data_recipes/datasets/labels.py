"""Cells to scores: numbers, templates, and the mean, std and votes of an aspect."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from statistics import fmean, stdev

from data_recipes.datasets.card import Aspect, DatasetCard, Layout, NativeScale, ScoreColumn
from data_recipes.datasets.report import Problems
from data_recipes.datasets.tables import Cell, LabelRow
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label

EMPTY = {"", "nan", "na", "n/a", "none", "null", "-"}
FIELD = re.compile(r"\{([^{}]+)\}")
GRADES = (1.0, 2.0, 3.0, 4.0, 5.0)  # votes are kept where the study's grades are these


class BadCell(ConfigError):
    """A cell that is not what its column holds; the message lacks the place, the caller adds it."""


def text(cell: Cell) -> str:
    """A cell as it is written in names: 4542323058.0 from a matrix is 4542323058."""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return cell if isinstance(cell, str) else str(cell)


def number(cell: Cell, decimal: str = ".") -> float | None:
    """A number, or None for an empty cell. Raises BadCell for text, infinity and an undeclared decimal comma."""
    if isinstance(cell, list):
        raise BadCell(f"a list of {len(cell)} numbers where one number is expected")
    if isinstance(cell, float):
        return None if math.isnan(cell) else _finite(cell, str(cell))
    if cell.lower() in EMPTY:
        return None
    if decimal == "," and "." not in cell:
        cell = cell.replace(",", ".")
    elif re.fullmatch(r"[+-]?\d+,\d+", cell):
        raise BadCell(f"{cell!r} looks like a number with a decimal comma (--decimal ,)")
    try:
        return _finite(float(cell), cell)
    except ValueError:
        raise BadCell(f"{cell!r} is not a number") from None


def _finite(value: float, shown: str) -> float:
    if not math.isfinite(value):
        raise BadCell(f"{shown!r} is not a finite number")
    return value


def fill(template: str, cells: Mapping[str, Cell]) -> str:
    """Replace `{column}` by its cell. Raises ConfigError for a column that is not there."""

    def cell(match: re.Match[str]) -> str:
        if match[1] not in cells:
            raise ConfigError(f"no column {match[1]!r}; there are: {', '.join(map(repr, cells))}")
        return text(cells[match[1]])

    return FIELD.sub(cell, template)


def derive(row: LabelRow, layout: Layout) -> LabelRow:
    """The row with the layout's derived columns. Raises ConfigError where a pattern or a lookup does not match."""
    if not layout.derive:
        return row
    cells = dict(row.cells)
    for name, rule in layout.derive.items():
        value = fill(rule.template, cells)
        if rule.pattern is not None:
            match = re.search(rule.pattern, value)
            if match is None:
                raise ConfigError(f"{row.where}: {value!r} is not of the form {rule.pattern}")
            value = match[1]
        if rule.lookup is not None:
            if value not in rule.lookup:
                raise ConfigError(f"{row.where}: {value!r} is none of {', '.join(rule.lookup)}")
            value = rule.lookup[value]
        cells[name] = value.lower() if rule.lower else value
    return LabelRow(row.where, cells)


def scored(
    rows: Iterator[LabelRow], layout: Layout, card: DatasetCard, problems: Problems
) -> Iterator[tuple[LabelRow, dict[str, Label]]]:
    """Rows with their labels; single ratings are gathered per clip (one small accumulator per clip is kept)."""
    if not layout.per_rating:
        for row in rows:
            yield row, {a: x for a, s in layout.scores.items() if (x := _label(row, a, s, layout, card, problems))}
        return
    gathered: dict[str, tuple[LabelRow, dict[Aspect, list[float]]]] = {}
    for row in rows:
        _, ratings = gathered.setdefault(fill(layout.key, row.cells), (row, {}))
        for aspect, score in layout.scores.items():
            value = _number(row, score.column or "", layout, problems)
            if value is not None and value != score.missing:
                ratings.setdefault(aspect, []).append(value)
    for row, ratings in gathered.values():
        yield row, {a: _of_ratings(row, v, _scale(card, a, layout.scores[a]), problems) for a, v in ratings.items()}


def _scale(card: DatasetCard, aspect: Aspect, score: ScoreColumn) -> NativeScale:
    scale = card.scale(aspect, score)
    if scale is None:
        raise ConfigError(f"{card.name}: no scale of {aspect} is published; give it with --scale LOW:HIGH")
    return scale


def _number(row: LabelRow, column: str, layout: Layout, problems: Problems) -> float | None:
    try:
        return number(row.cells[column], layout.decimal)
    except BadCell as e:
        problems.error(f"column {column!r} holds no number", f"{row.where}: {e}")
        return None


def _label(
    row: LabelRow, aspect: Aspect, score: ScoreColumn, layout: Layout, card: DatasetCard, problems: Problems
) -> Label | None:
    scale = _scale(card, aspect, score)
    if (ratings := _ratings(row, score, layout, problems)) is not None:
        if ratings:
            return _of_ratings(row, ratings, scale, problems)
    elif score.column is None:
        votes = [_number(row, c, layout, problems) or 0.0 for c in score.counts or ()]
        if sum(votes) > 0:
            return _of_counts(row, votes, scale, problems)
    else:
        mean = _number(row, score.column, layout, problems)
        if mean is not None and mean != score.missing:
            return _of_mean(row, mean, score, scale, layout, problems)
    problems.warn(f"no score of {aspect}", row.where)
    return None


def _ratings(row: LabelRow, score: ScoreColumn, layout: Layout, problems: Problems) -> list[float] | None:
    """Single ratings, from their columns or a list in one cell; None where the copy has none."""
    if score.ratings is None:
        cell = row.cells[score.column] if score.column else None
        return _listed(cell) if isinstance(cell, str) else cell if isinstance(cell, list) else None
    columns = [c for c in row.cells if fnmatchcase(c, score.ratings)]
    if not columns:
        raise ConfigError(f"{row.where}: no column is of the form {score.ratings!r}")
    values = [_number(row, c, layout, problems) for c in columns]
    return [v for v in values if v is not None and v != score.missing]


def _listed(cell: str) -> list[float] | None:
    """Ratings that a table writes as one cell, "[41.0, 32.0]"; None for any other text."""
    try:
        values = json.loads(cell) if cell.startswith("[") else None
    except json.JSONDecodeError:
        return None
    return [float(v) for v in values if isinstance(v, int | float)] if values else None


def _of_mean(
    row: LabelRow, mean: float, score: ScoreColumn, scale: NativeScale, layout: Layout, problems: Problems
) -> Label:
    std = _number(row, score.std, layout, problems) if score.std else None
    if std is not None and score.std_scale is not None:
        std *= (scale.high - scale.low) / (score.std_scale[1] - score.std_scale[0])
    votes = [_number(row, c, layout, problems) or 0.0 for c in score.counts or ()]
    return _checked(row, mean, std, votes if len(votes) == len(GRADES) else None, scale, problems)


def _of_ratings(row: LabelRow, values: Sequence[float], scale: NativeScale, problems: Problems) -> Label:
    std = stdev(values) if len(values) > 1 else None
    graded = (scale.low, scale.high) == (1.0, 5.0) and set(values) <= set(GRADES)
    votes = [float(values.count(g)) for g in GRADES] if graded else None
    return _checked(row, fmean(values), std, votes, scale, problems)


def _of_counts(row: LabelRow, counts: Sequence[float], scale: NativeScale, problems: Problems) -> Label:
    total, step = sum(counts), (scale.high - scale.low) / (len(counts) - 1)
    levels = [scale.low + step * i for i in range(len(counts))]
    mean = sum(n * v for n, v in zip(counts, levels, strict=True)) / total
    std = math.sqrt(sum(n * (v - mean) ** 2 for n, v in zip(counts, levels, strict=True)) / total)
    return _checked(row, mean, std, list(counts) if len(counts) == len(GRADES) else None, scale, problems)


def _checked(
    row: LabelRow, mean: float, std: float | None, votes: list[float] | None, scale: NativeScale, problems: Problems
) -> Label:
    outside = max(scale.low - mean, mean - scale.high)
    shown = f"{scale.low:g}..{scale.high:g}"
    if outside > scale.overshoot + 1e-9 * (scale.high - scale.low):
        allowed = f" and the {scale.overshoot:g} beyond it that are known" if scale.overshoot else ""
        problems.error(f"score outside the scale {shown}{allowed} (--scale)", f"{row.where}: {mean:g}")
    elif outside > 0:
        problems.warn(f"score a little outside the nominal scale {shown}", f"{row.where}: {mean:g}")
    if std is not None and not 0 <= std <= scale.high - scale.low:
        problems.error(f"std outside 0..{scale.high - scale.low:g}", f"{row.where}: {std:g}")
    return Label(
        mean=mean, std=std, votes=votes, scale=(scale.low, scale.high), higher_is_better=scale.higher_is_better
    )
