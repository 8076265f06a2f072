"""`python -m train`: data on stdout, everything human on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Train checkpoints from record files."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML of train/configs/")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="a.b=c, may be repeated")] = None,
    workers: Annotated[int, typer.Option(help="processes that prepare clips")] = 1,
) -> None:
    """Run all stages of CONFIG; run it again to resume."""
    from mllm_avqa.errors import AvqaError
    from train.config import load_config

    try:
        with contextlib.redirect_stdout(sys.stderr):  # what libraries print must not mix with the result
            from train.run import DONE
            from train.run import run as run_stages

            cfg = load_config(config, set_)
            last = run_stages(cfg, workers)
    except AvqaError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(2) from e
    reports = {s.name: json.loads((cfg.output / s.name / DONE).read_text()) for s in cfg.stages}
    typer.echo(json.dumps({"checkpoint": str(last), "stages": reports}, indent=1))


@app.command()
def publish(
    stage: Annotated[Path, typer.Argument(help="directory of a finished stage")],
    directory: Annotated[Path, typer.Argument(help="where the checkpoint goes")],
) -> None:
    """Write a finished stage as one bf16 checkpoint: adapters merged, card beside the weights."""
    from mllm_avqa.errors import AvqaError

    try:
        with contextlib.redirect_stdout(sys.stderr):
            from train.publish import publish as write

            write(stage, directory)
    except AvqaError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(2) from e
    typer.echo(str(directory))


if __name__ == "__main__":
    app()
