"""Votes of people: the cells of a CSV file, and `Votes`, who gave which clip which score. Errors name the place."""

from __future__ import annotations

import csv
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import Scale

log = logging.getLogger(__name__)

MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-"})
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class VotesError(ConfigError):
    """A file of votes that is not what it claims to be, or too little to compute a score from."""

    kind = "votes"


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

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """Those that hold anything."""
        return ((n, cells) for n, cells in self if any(cells))

    def check_width(self, line: int, cells: Sequence[str], width: int, of: str = "the header has") -> None:
        """Raises VotesError for a line of another number of cells."""
        if len(cells) != width:
            comma = "; quote a decimal comma, or separate columns by ';'" if self.separator == "," else ""
            raise VotesError(f"{self.path}:{line}: {len(cells)} cells where {of} {width}{comma}")

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


@dataclass(frozen=True)
class Votes:
    """N votes in long form: a cube of clips x subjects would be almost empty for a crowd, and repetitions need no axis.

    clips, subjects: names in the order of the file. clip, subject: int64 [N], indices into them. score: float64 [N], on
    the study's own `scale`. Every clip and every subject has at least one vote.
    """

    clips: list[str]
    subjects: list[str]
    clip: np.ndarray
    subject: np.ndarray
    score: np.ndarray
    scale: Scale

    def per_clip(self, values: np.ndarray) -> np.ndarray:
        """Sum of a value per vote [N] over the votes of each clip [clips]."""
        return np.bincount(self.clip, values, len(self.clips))

    def per_subject(self, values: np.ndarray) -> np.ndarray:
        """Sum of a value per vote [N] over the votes of each subject [subjects]."""
        return np.bincount(self.subject, values, len(self.subjects))

    @property
    def n_clip(self) -> np.ndarray:
        """Votes per clip, int64 [clips]."""
        return np.bincount(self.clip, minlength=len(self.clips))

    @property
    def n_subject(self) -> np.ndarray:
        """Votes per subject, int64 [subjects]."""
        return np.bincount(self.subject, minlength=len(self.subjects))

    def levels(self) -> np.ndarray | None:
        """Number of votes 1, 2, 3, 4, 5 per clip, int64 [clips, 5]; None unless the scale is 1-5 in whole steps."""
        if (self.scale.low, self.scale.high) != (1.0, 5.0) or np.any(self.score != np.round(self.score)):
            return None
        cell = self.clip * 5 + self.score.astype(np.int64) - 1
        return np.bincount(cell, minlength=5 * len(self.clips)).reshape(-1, 5)

    def without(self, rejected: np.ndarray) -> Votes:
        """The votes of the others. rejected: bool [subjects]. Raises VotesError when a clip loses every vote."""
        kept = ~rejected[self.subject]
        empty = np.bincount(self.clip[kept], minlength=len(self.clips)) == 0
        if empty.any():
            names = ", ".join(repr(self.clips[i]) for i in np.flatnonzero(empty)[:3])
            raise VotesError(
                f"without the {rejected.sum()} rejected subjects {empty.sum()} clips have no vote left ({names}): "
                "use --model mos or p910, which keep everybody"
            )
        renumbered = np.cumsum(~rejected) - 1
        return Votes(
            self.clips,
            [s for s, gone in zip(self.subjects, rejected, strict=True) if not gone],
            self.clip[kept],
            renumbered[self.subject[kept]],
            self.score[kept],
            self.scale,
        )


def assemble(
    clips: Sequence[str],
    subjects: Sequence[str],
    clip: Sequence[int],
    subject: Sequence[int],
    score: Sequence[float],
    scale: Scale,
) -> Votes:
    """`Votes` of the cells read; NaN is a missing vote. Clips and subjects without any vote are dropped and counted."""
    scores = np.asarray(score, dtype=np.float64)
    given = ~np.isnan(scores)
    if not given.any():
        raise VotesError("there is no vote in it: every cell is empty")
    names, columns = [], []
    for what, all_names, index in (("clips", clips, clip), ("subjects", subjects, subject)):
        used, renumbered = np.unique(np.asarray(index, dtype=np.int64)[given], return_inverse=True)
        if len(used) < len(all_names):
            log.warning("%d of %d %s have no vote and were left out", len(all_names) - len(used), len(all_names), what)
        names.append([all_names[i] for i in used])
        columns.append(renumbered)
    return Votes(names[0], names[1], columns[0], columns[1], scores[given], scale)
