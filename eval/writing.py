"""Results as files: whole or not at all, and what goes wrong named with its flag."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

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
