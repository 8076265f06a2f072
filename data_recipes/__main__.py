"""`python -m data_recipes`: make records and clips of known quality. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import logging
import sys

import typer

from data_recipes.commands import audit, convert, fetch, formats, preview, questions, recipes, splits, stats, votes

TOPICS = (recipes, audit, formats, stats, votes, fetch, preview, splits, convert, questions)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _topic in TOPICS:
    _topic.register(app)

if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()
