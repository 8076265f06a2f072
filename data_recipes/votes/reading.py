"""A CSV file of votes in either layout -> `Votes`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from data_recipes.votes.cells import Sheet
from data_recipes.votes.long import Columns, Duplicates, find_columns, read_long
from data_recipes.votes.matrix import Rows, read_matrix
from data_recipes.votes.table import Votes, VotesError
from mllm_avqa.schema.levels import Scale

__all__ = ["LAYOUTS", "Columns", "Layout", "layout_of", "read_votes"]

Layout = Literal["auto", "long", "matrix", "pairs"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
FIVE = Scale(1.0, 5.0)


def read_votes(
    path: str | Path,
    scale: Scale = FIVE,
    layout: Layout = "auto",
    columns: Columns | None = None,
    rows: Rows = "auto",
    duplicates: Duplicates = "refuse",
) -> Votes:
    """Read votes. See `read_long` and `read_matrix` for what the layouts may look like.

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
    """Pairs when a column is called other_...; long when clip and subject have columns; else a matrix."""
    line, header = next(((n, cells) for n, cells in sheet if any(cells)), (1, [""]))
    found = find_columns(header, columns, f"{sheet.path}:{line}")
    if any(name.lower().startswith("other_") for name in header):
        return "pairs"
    return "long" if {"clip", "subject"} <= found.keys() else "matrix"
