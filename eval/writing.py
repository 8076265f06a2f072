"""Results as text, pages and files: tables that read well in a terminal, files whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eval.stats import Number
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file


def write_text(path: Path, text: str, flag: str = "--output") -> None:
    """Write a text file in UTF-8; a reader sees the old one or the new one. Raises OutputError."""
    try:
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as e:
        raise OutputError(f"{flag} {path}: can not be written: {e.strerror}") from e


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]], flag: str = "--output") -> None:
    """A table with its head as CSV. Raises OutputError."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows(rows)
    write_text(path, text.getvalue(), flag)


def told(error: Exception, base: Path, media: str) -> str:
    """The error's text with the clip named as its record does: results travel, folders do not."""
    path = base / media
    return str(error).replace(os.path.abspath(path), media).replace(str(path), media)


# ---- Markdown -------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """First column left, the others right."""
    cells = [[c.replace("|", "\\|") for c in row] for row in [head, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "| " + " | ".join(parts) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def signed(number: Number, interval: bool = False) -> str:
    """.842 [.801, .877], or a dash: the reason is told beside the table."""
    if number.value is None:
        return "–"
    text = f"{number.value:.3f}"
    if interval and number.low is not None and number.high is not None:
        text += f" [{number.low:.3f}, {number.high:.3f}]"
    return text


# ---- pages ----------------------------------------------------------------------------------------------------------


def page(template: Path, **values: Any) -> str:
    """A template filled in. Texts are escaped, and shown without what would hide or turn other text."""
    from mllm_avqa.report.page import render_page

    return render_page(template, **values)
