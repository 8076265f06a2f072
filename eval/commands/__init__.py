"""Commands of `python -m eval`; each module registers its own."""

from __future__ import annotations

from pathlib import Path

import typer

from mllm_avqa.errors import AvqaError, OutputError
from mllm_avqa.files import whole_file


def fail(error: AvqaError) -> typer.Exit:
    """Print the error to stderr; `raise fail(e) from None` ends the command with exit code 2."""
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(2)


def save(output: Path, text: str) -> None:
    """Write what --output asks for, whole or not at all. Raises OutputError."""
    try:
        with whole_file(output) as part:
            part.write_text(text + "\n", encoding="utf-8")
    except OSError as e:
        raise OutputError(f"--output {output}: can not be written: {e.strerror}") from e
