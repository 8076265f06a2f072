"""The commands of `python -m data_recipes`, a file per topic; importing a file adds its commands to `app`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mllm_avqa.schema.errors import AvqaError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

RecordsArgument = Annotated[Path, typer.Argument(help="Record file (.jsonl, for some commands also .parquet).")]
OutOption = Annotated[Path, typer.Option("-o", "--out", help="File to write.")]
SourcesOption = Annotated[list[Path] | None, typer.Option("--sources", help="Folder of source media; may be repeated.")]
SeedOption = Annotated[int, typer.Option(help="Equal seeds give equal files.")]
Split = Literal["train", "val", "test"]


def command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the function is a command, whose arguments are its own. An AvqaError ends it with exit code 2."""

    def added(run: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(run)
        def guarded(*args: Any, **options: Any) -> None:
            try:
                run(*args, **options)
            except AvqaError as e:
                typer.echo(f"error: {e}", err=True)
                raise typer.Exit(2) from e

        app.command(name)(guarded)
        return run

    return added


def say(*lines: str) -> None:
    """Something for people, on stderr."""
    for line in lines:
        typer.echo(line, err=True)


def give(data: Any) -> None:
    """Data as one line of JSON on stdout."""
    typer.echo(json.dumps(data, ensure_ascii=False))
