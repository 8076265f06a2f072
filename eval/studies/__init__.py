"""One file per study. A file with a `Study` in it is a command and a kind of task; nothing else has to know of it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from eval.study import Study
from mllm_avqa.schema.errors import ConfigError


@cache
def studies() -> tuple[type[Study], ...]:
    """Every study of this folder, by file name."""
    found = []
    for module in iter_modules(__path__):
        here = import_module(f"{__name__}.{module.name}")
        own = (v for v in vars(here).values() if isinstance(v, type) and issubclass(v, Study))
        found += [v for v in own if v.__module__ == here.__name__ and (v.command or v.kind)]
    return tuple(found)


def kind(name: str) -> type[Study]:
    """The study of a kind of task. Raises ConfigError that names the nearest kind."""
    kinds = {s.kind: s for s in studies() if s.kind}
    if name not in kinds:
        raise ConfigError(f"kind {name!r} does not exist{nearest(name, kinds)}")
    return kinds[name]


def nearest(name: str, allowed: Iterable[str]) -> str:
    """ "; did you mean 'score'? allowed are ..." """
    names = sorted(allowed)
    close = get_close_matches(name, names, 1, 0.5)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Allowed are {', '.join(names)}"
