"""`python -m benchmarks [NAME ...]`: measures here and now; the Markdown report goes to stdout or to -o FILE."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
NAMES = (
    "parity",
    "aspects",
    "batch",
    "rooms",
    "memory",
    "whole",
    "synthesis",
    "conversion",
    "questions",
    "swift",
    "processes",
    "towers",
    "processor",
    "cluster",
)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"{', '.join(NAMES)}; default: all.")] = None,
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    clip: Annotated[Path, typer.Option(help="Clip that the test clips are made of.")] = Path("examples/elf.mp4"),
    clips: Annotated[Path | None, typer.Option(help="Folder with further clips for `batch`.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs behind every median.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    peer_python: Annotated[
        Path | None, typer.Option(help="Interpreter of an environment with ms-swift, for `swift`.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder where `swift`, `processes`, `towers` keep what they make.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="FILE.md; default: stdout.")] = None,
) -> None:
    """Compare with the obvious alternatives. Run it on an otherwise idle machine."""
    from benchmarks.base import Options
    from benchmarks.report import render
    from mllm_avqa.schema.errors import AvqaError, ConfigError

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        for name in names or ():
            if name not in NAMES:
                raise ConfigError(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
        if not clip.is_file():
            raise ConfigError(f"clip {clip} does not exist (--clip)")
        settings = Options(checkpoint, clip, clips, repeats, threads, peer_python, keep)
        reports = []
        for name in names or NAMES:
            typer.echo(f"{name} ...", err=True)
            reports.append(importlib.import_module(f"benchmarks.{name}").run(settings))
    except AvqaError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(2) from None
    text = render(reports, settings)
    if output is None:
        typer.echo(text)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n", encoding="utf-8")
        typer.echo(str(output))
    if any(row.met is False for r in reports for row in r.rows):
        typer.echo("a target was missed", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
