"""Every kind of fault by name: its side, its words, and the facts by which a claim about it is checked.

All of it stands in prompts/faults.<side>.yaml, where the keys are explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.names import SIDES, Side
from mllm_avqa.schema.words import read_prompts


class Words(BaseModel):
    """Plain words for faults, by language."""

    model_config = ConfigDict(extra="forbid")

    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()

    def of(self, language: str) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self, language)
        return found


class Text(BaseModel):
    """One text in every language."""

    model_config = ConfigDict(extra="forbid")

    en: str = ""
    zh: str = ""

    def of(self, language: str) -> str:
        found: str = getattr(self, language)
        return found


class FaultKind(BaseModel):
    """One kind of fault. A measure is the name of a fact, with a sign where only one direction is this fault."""

    model_config = ConfigDict(extra="forbid")

    side: Side
    en: str
    zh: str
    told: Text = Text()
    remedy: Text = Text()
    also: Words = Words()
    measures: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    missed: bool = False  # by its measures, too often for them to refute it
    form: Literal["mass", "countable", "property"] = "mass"

    def name(self, language: str) -> str:
        """What it is called, as it is taught."""
        found: str = getattr(self, language)
        return found

    def said(self, language: str) -> str:
        """What people are told: no more than can be known of it."""
        return self.told.of(language) or self.name(language)


class Shared(Words):
    """Plain words that cover several kinds of one side."""

    kinds: tuple[str, ...]


def _read(side: Side) -> Mapping[str, Any]:
    return read_prompts(f"faults.{side}")


@cache
def fault_kinds() -> Mapping[str, FaultKind]:
    """All kinds by name, in the order of the files. Raises ConfigError for an entry that does not fit."""
    found: dict[str, FaultKind] = {}
    for side in SIDES:
        for kind, entry in _read(side)["kinds"].items():
            try:
                found[kind] = FaultKind.model_validate({"side": side, **entry})
            except ValidationError as e:
                first = e.errors()[0]
                where = ".".join(str(x) for x in first["loc"])
                raise ConfigError(f"prompts/faults.{side}.yaml: {kind}: {where}: {first['msg']}") from e
    return found


@cache
def shared_words() -> tuple[tuple[Side, Shared], ...]:
    """Plain words that cover several kinds, with their side."""
    return tuple((s, Shared.model_validate(entry)) for s in SIDES for entry in _read(s)["shared"])
