"""The commands of `python -m data_recipes`, a file per topic; each has `register(app)`."""

from __future__ import annotations

import typer

from mllm_avqa.schema.errors import AvqaError


def fail(error: AvqaError) -> typer.Exit:
    """Print the error to stderr; `raise fail(e) from e` ends the command with exit code 2."""
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(2)
