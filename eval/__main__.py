"""`python -m eval`: data on stdout, everything human on stderr."""

from __future__ import annotations

import logging
import os
import sys

import typer

from eval.commands import (
    attribution,
    baselines,
    calibrate,
    card,
    correlate,
    describe,
    questions,
    robustness,
    suite,
    sync,
    tools,
)

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

TOPICS = (card, correlate, baselines, calibrate, questions, suite, attribution, describe, robustness, sync, tools)
for _topic in TOPICS:
    _topic.register(app)


@app.callback()
def main() -> None:
    """Measure predictions and checkpoints against labels."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")


if __name__ == "__main__":
    app()
