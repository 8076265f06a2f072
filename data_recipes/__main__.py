"""`python -m data_recipes`: make records and clips of known quality. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import logging
import sys

import typer

from data_recipes.commands import recipes

TOPICS = (recipes,)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _topic in TOPICS:
    _topic.register(app)

if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()
