"""Commands of `python -m eval`; each module registers its own."""

from __future__ import annotations

from pathlib import Path

import typer

from eval.writing import write_text
from mllm_avqa.schema.errors import AvqaError


def fail(error: AvqaError) -> typer.Exit:
    """Print the error to stderr; `raise fail(e) from None` ends the command with exit code 2."""
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(2)


def save(output: Path, text: str) -> None:
    """Write what --output asks for. Raises OutputError."""
    write_text(output, text + "\n")
