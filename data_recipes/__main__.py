"""`python -m data_recipes`: make records and clips of known quality. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pkgutil import iter_modules

from data_recipes import commands
from data_recipes.commands import app

for _topic in iter_modules(commands.__path__):  # each adds its commands
    import_module(f"{commands.__name__}.{_topic.name}")

if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()
