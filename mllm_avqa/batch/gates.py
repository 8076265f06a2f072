"""A gate: what a clip must reach, and which faults it must not have. Read from a row, so that old rows pass it too."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from mllm_avqa.batch.rows import rating_row
from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.names import ASPECTS
from mllm_avqa.schema.rating import Rating

FAILED = 3  # exit code of a command whose gate a clip did not pass
LEAST = "moderate"  # severity from which a fault counts, unless one is given
_GRADED = re.compile(r"(\w+) \((\w+)")  # "black (severe)", "hum (slight, 0.81, 0-3 s)": as rows write them


@dataclass(frozen=True)
class Gate:
    """Options of a command; `reasons` says why a row does not pass. Raises ConfigError for what cannot be asked."""

    fail_under: Annotated[
        list[str] | None,
        typer.Option(help="Least score of an aspect, video=3; repeatable. Exit code 3, the reasons on stderr."),
    ] = None
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A fault that must not be there: a fact (black, silence, freeze ...) or a kind of finding, from "
            f"{LEAST} on or as given, black=slight; repeatable."
        ),
    ] = None

    def __bool__(self) -> bool:
        return bool(self.fail_under or self.fail_on)

    def check(self) -> None:
        """Raises ConfigError for an aspect, number, fault or severity that does not exist."""
        assert self.least is not None
        assert self.banned is not None

    @cached_property
    def least(self) -> dict[str, float]:
        out: dict[str, float] = {}
        for given in self.fail_under or ():
            aspect, _, number = given.partition("=")
            try:
                value = float(number)
            except ValueError:
                value = float("nan")
            if aspect not in ASPECTS or not 1 <= value <= 5:
                raise ConfigError(
                    f"--fail-under {given}: must be ASPECT=SCORE, one of {', '.join(ASPECTS)} and 1 to 5, as video=3"
                )
            out[aspect] = max(value, out.get(aspect, value))
        return out

    @cached_property
    def banned(self) -> dict[str, int]:
        """The index of the least severity that counts, by fault."""
        out: dict[str, int] = {}
        for given in self.fail_on or ():
            kind, _, severity = given.partition("=")
            if kind not in (known := _faults()):
                near = difflib.get_close_matches(kind, known, 3) or sorted(known)
                raise ConfigError(
                    f"--fail-on {given}: no fact or fault is called {kind!r}; there are: {', '.join(near)}"
                )
            if (severity or LEAST) not in SEVERITIES[1:]:
                raise ConfigError(f"--fail-on {given}: the severity must be one of {', '.join(SEVERITIES[1:])}")
            out[kind] = SEVERITIES.index(severity or LEAST)  # type: ignore[arg-type]
        return out

    @property
    def asks_the_model(self) -> bool:
        """True where a fault is banned that no measured fact is called by: the model has to look for it."""
        return any(kind not in ALL_FACTS for kind in self.banned)

    def reasons(self, cells: Mapping[str, Any]) -> str | None:
        """Why this row does not pass, in one line; None where it does. A score that is not there passes no limit."""
        return "; ".join(self._failures(cells)) or None

    def passed(self, rating: Rating, path: Path) -> list[str]:
        """The same for a rating, reason by reason."""
        return self._failures(rating_row(rating, path=rating.path, file=path).model_dump()) if self else []

    def _failures(self, cells: Mapping[str, Any]) -> list[str]:
        return [] if cells["status"] == "error" else [*self._low(cells), *self._there(cells)]

    def _low(self, cells: Mapping[str, Any]) -> Iterator[str]:
        for aspect, least in self.least.items():
            if cells[aspect] is None:
                yield f"{aspect} has no score: {cells[f'{aspect}_missing']}"
            elif float(cells[aspect]) < least:
                yield f"{aspect} {float(cells[aspect]):.2f} is under {least:g}"

    def _there(self, cells: Mapping[str, Any]) -> Iterator[str]:
        """Measured facts, then findings of the same name that no fact has told."""
        told: set[str] = set()
        for column, origin in (("severities", "measured"), ("findings", "found")):
            for kind, severity in _GRADED.findall(cells.get(column) or "") if self.banned else ():
                if kind in self.banned.keys() - told and SEVERITIES.index(severity) >= self.banned[kind]:
                    told.add(kind)
                    value = cells.get(kind)
                    yield f"{kind} is {severity} ({origin if value is None else f'{value:g} {ALL_FACTS[kind].unit}'})"


def _faults() -> Sequence[str]:
    return list(dict.fromkeys([*ALL_FACTS, *fault_kinds()]))
