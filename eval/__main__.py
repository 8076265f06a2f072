"""`python -m eval`: data on stdout, everything human on stderr."""

from __future__ import annotations

import logging
import os
import sys

import typer

from eval.board.lmms import ExportLmms
from eval.board.run import SuiteCommand
from eval.command import register
from eval.studies import studies
from eval.study import Command

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

_KINDS: list[type[Command]] = [*(s for s in studies() if s.command), SuiteCommand, ExportLmms]
for _kind in _KINDS:
    register(app, _kind)


@app.callback()
def main() -> None:
    """Measure predictions and checkpoints against labels."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")


if __name__ == "__main__":
    app()
