"""Task kinds by name. A kind is one module with a `KIND`; it is imported when a suite asks for it.

To add one: write `eval/suite/kinds/<name>.py` with a `Task` subclass and a function `(task, bench) -> lines`, and name
it in `MODULES`. Nothing else changes: reading, resuming, failures, commands and the page are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from eval.suite.bench import Bench
from eval.suite.schema import Line, Task
from mllm_avqa.schema.errors import ConfigError

MODULES = {
    "score": "eval.suite.kinds.score",
    "splits": "eval.suite.kinds.splits",
    "cross": "eval.suite.kinds.cross",
    "fusion": "eval.suite.kinds.fusion",
    "questions": "eval.suite.kinds.questions",
    "card": "eval.suite.kinds.card",
    "calibration": "eval.suite.kinds.calibration",
    "attribution": "eval.suite.kinds.attribution",
    "robustness": "eval.suite.kinds.robustness",
    "sync": "eval.suite.kinds.sync",
    "descriptions": "eval.suite.kinds.descriptions",
}


@dataclass(frozen=True)
class Kind:
    """`run` gives the lines of one checkpoint, `alone` those that belong to none (what a model has to beat)."""

    title: str
    task: type[Task]
    run: Callable[[Any, Bench], Iterable[Line]]
    headline: tuple[str, str, str]  # (table, what, column) of the overview
    alone: Callable[[Any, Bench], Iterable[Line]] | None = None
    lower: frozenset[str] = frozenset()  # columns where less is better
    plain: frozenset[str] = frozenset()  # columns that nobody wins
    counts: frozenset[str] = frozenset()  # columns of whole numbers
    gains: frozenset[str] = frozenset()  # columns that say by how much a checkpoint beats a baseline


def kind(name: str) -> Kind:
    """Raises ConfigError that names the nearest kind."""
    if name not in MODULES:
        raise ConfigError(f"kind {name!r} does not exist{nearest(name, MODULES)}")
    found = import_module(MODULES[name]).KIND
    assert isinstance(found, Kind)
    return found


def nearest(name: str, allowed: Iterable[str]) -> str:
    """ "; did you mean 'score'? allowed are ..." """
    names = sorted(allowed)
    close = get_close_matches(name, names, 1, 0.5)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Allowed are {', '.join(names)}"
