"""`python -m data_recipes`: make records and clips of known quality. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import logging
import sys

from data_recipes.commands import app, datasets, questions, recipes, records, votes

__all__ = ["app", "datasets", "questions", "recipes", "records", "votes"]

if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()
