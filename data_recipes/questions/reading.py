"""Facts that a description states: faults with severity and time, levels, sides in order, numbers.

Read by the one reader of claims, so that what is compared here is what ratings check and evaluation counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mllm_avqa.model.claims import read_claims
from mllm_avqa.schema.faults import fault_kinds

NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class StatedFacts:
    """Two texts that state the same have equal facts. `clear` is False when a sentence can be read in several ways."""

    faults: frozenset[tuple[Any, ...]]  # (kinds, other sides, severity, time) of faults with a grade or time
    key: frozenset[str]  # kinds named without grade, time or level: "the main problem is ..."
    levels: frozenset[tuple[Any, ...]]  # (aspect, level word, kinds made responsible)
    denied: frozenset[tuple[Any, ...]]  # (side, kinds) of what is said not to be there
    numbers: frozenset[str]
    clear: bool

    def difference(self, other: StatedFacts) -> str | None:
        """The first kind of fact in which two texts differ, None when they state the same."""
        for name in ("faults", "levels", "denied", "key", "numbers", "clear"):
            if getattr(self, name) != getattr(other, name):
                return name
        return None


def read(text: str, language: str) -> StatedFacts:
    """The facts of a description in "en" or "zh". A sentence that grades two faults at once is not clear."""
    claims = read_claims(text, language)
    faults, key, levels, clear = set(), set(), set(), True
    graded = {level.sentence for level in claims.levels}
    for sentence in dict.fromkeys(f.sentence for f in claims.said if not f.denied):
        told = [f for f in claims.said if f.sentence == sentence and not f.denied]
        if any(f.severity is not None or f.span is not None for f in told):
            clear = clear and len(told) == 1
            named = frozenset(side for spoken, side in claims.sides if spoken == sentence)
            faults |= {(f.kinds, named - _implied(f.kinds), f.severity, f.span) for f in told}
        elif sentence not in graded:
            key |= {kind for f in told for kind in f.kinds}
    for level in claims.levels:
        kinds = frozenset(kind for f in claims.said if f.sentence == level.sentence for kind in f.kinds)
        levels.add((level.aspect, f"not {level.word}" if level.denied else level.word, kinds))
    denied = {(c.side, frozenset[str]()) for c in claims.clean} | {(f.side, f.kinds) for f in claims.said if f.denied}
    numbers = frozenset(NUMBER.findall(text))
    return StatedFacts(frozenset(faults), frozenset(key), frozenset(levels), frozenset(denied), numbers, clear)


def _implied(kinds: frozenset[str]) -> frozenset[str]:
    """Sides that the names of the faults imply: "hum" and "hum in the sound" state the same."""
    own = {str(fault_kinds()[k].side) for k in kinds}
    return frozenset(own | {"video", "audio"} if "sync" in own else own)
