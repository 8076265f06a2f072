"""HTML pages: one way from a template to text, in which everything printed is made visible and escaped."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from mllm_avqa.report.labels import clock, visible
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file


def render_page(template: Path | Traversable, **values: object) -> str:
    """The template with its values. A name that is missing is an error, not an empty place."""
    env = Environment(
        loader=BaseLoader(),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["clock"] = clock
    return env.from_string(template.read_text(encoding="utf-8")).render(**values)


def _printable(value: object) -> object:
    """Every printed value passes through here before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def write_page(path: str | Path, html: str, flag: str) -> None:
    """Write a page whole or not at all. Raises OutputError, which names the flag, when it can not be written."""
    try:
        with whole_file(path) as part:
            part.write_text(html, encoding="utf-8")
    except OSError as e:
        raise OutputError(f"{flag} {path}: can not be written: {e.strerror}") from e
