"""Cells of a CSV file: its lines with their numbers, its separator, and votes as numbers. Errors name the place."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from data_recipes.votes.table import VotesError
from mllm_avqa.schema.levels import Scale

MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-"})
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class Sheet:
    """A CSV file as (line number, cells); separated by tabs or semicolons if its first line has any, else by commas.

    UTF-8 with or without BOM, any line ends; cells are stripped, lines without cells are given as []. Raises VotesError
    for a file that is not there, is empty, is not UTF-8 or ends inside a quote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise VotesError(f"file of votes {path} does not exist")
        with path.open("rb") as f:
            start = f.read(4096)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise VotesError(f"{path} is UTF-16; save it as UTF-8")
        first = start.decode("utf-8-sig", errors="replace").lstrip().split("\n")[0]
        if not first.strip():
            raise VotesError(f"file of votes {path} is empty")
        self.separator = next((c for c in "\t;" if c in first), ",")

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as f:
                reader = csv.reader(f, delimiter=self.separator, strict=True)
                for row in reader:
                    yield reader.line_num, [c.strip() for c in row]
        except UnicodeDecodeError as e:
            raise VotesError(f"{self.path}: not UTF-8 at byte {e.start}: {e.reason}; save it as UTF-8") from e
        except csv.Error as e:
            raise VotesError(f"{self.path}:{reader.line_num}: not CSV: {e}") from e

    def place(self, line: int, column: int, name: str = "") -> str:
        """`file:line: column 3 ("score")`; column counts from 0."""
        return f"{self.path}:{line}: column {column + 1}" + (f" ({name!r})" if name else "")


class VoteCells:
    """Text of a cell -> score, NaN for a missing one. -1 is missing unless the scale reaches it."""

    def __init__(self, sheet: Sheet, scale: Scale) -> None:
        self.sheet, self.scale = sheet, scale

    def __call__(self, text: str, line: int, column: int, name: str = "") -> float:
        """Raises VotesError for text that is no number, or a number outside the scale."""
        value = number(text)
        if value is None:
            raise VotesError(
                f"{self.sheet.place(line, column, name)}: {text!r} is not a score; allowed are numbers and, "
                "for a missing vote, an empty cell, nan, NA or -1"
            )
        low, high = self.scale.low, self.scale.high
        if math.isnan(value) or (value == -1.0 and low > -1.0):
            return math.nan
        if not low <= value <= high:
            raise VotesError(
                f"{self.sheet.place(line, column, name)}: score {text} is outside the scale {low:g}..{high:g} (--scale)"
            )
        return value


def number(text: str) -> float | None:
    """A finite number (3.5, or 3,5 where the comma is no separator), NaN for a word of `MISSING`, else None."""
    if text.lower() in MISSING:
        return math.nan
    try:
        value = float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None
