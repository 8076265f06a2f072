"""Files written whole or not at all: of any kind, and pages of Jinja templates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file

PARQUET = ".parquet"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`whole_file` for the output of a command: raises OutputError when the place can not be written."""
    try:
        with whole_file(path) as part:
            yield part
    except OSError as e:
        raise OutputError(f"{path} can not be written: {e.strerror or e} (-o)") from e


def write_html(path: Path, template: Path, **values: Any) -> Path:
    """Write a page of a Jinja template, whole or not at all; returns its path. Raises OutputError.

    Everything is escaped, and what strangers wrote keeps no invisible or turning characters.
    """
    from mllm_avqa.report.page import render_page

    html = render_page(template, **values)
    with replacing(path) as part:
        part.write_text(html, encoding="utf-8")
    return path
