"""Facts that a description states: faults with severity and time, levels, sides in order, numbers.

Reads with the words of prompts/claims.<lang>.yaml, as `model.explain` does: what is compared here is checked there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mllm_avqa.model.explain import sentences
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import SEVERITIES

NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Facts:
    """Two texts that state the same have equal facts. `clear` is False when a sentence can be read in several ways."""

    faults: frozenset[
        tuple[Any, ...]
    ]  # (kinds, other sides, severities, times) of sentences that grade or time a fault
    key: frozenset[str]  # kinds named without grade, time or level: "the main problem is ..."
    levels: frozenset[tuple[Any, ...]]  # (aspect, level word, kinds made responsible)
    denied: frozenset[tuple[Any, ...]]  # (sides, kinds) of sentences that deny a fault
    numbers: frozenset[str]
    clear: bool

    def difference(self, other: Facts) -> str | None:
        """The first kind of fact in which two texts differ, None when they state the same."""
        for name in ("faults", "levels", "denied", "key", "numbers", "clear"):
            if getattr(self, name) != getattr(other, name):
                return name
        return None


def read(text: str, language: str) -> Facts:
    """The facts of a description in "en" or "zh". A sentence that grades two faults at once is not clear."""
    claims, words = load_prompts("claims", language), load_prompts("questions", language)
    faults: set[tuple[Any, ...]] = set()
    levels: set[tuple[Any, ...]] = set()
    denied: set[tuple[Any, ...]] = set()
    key: set[str] = set()
    clear = True
    for sentence in sentences(text):
        low = sentence.lower()
        kinds, rest = _named(low, words["names"])
        sides = frozenset(a for a, spellings in claims["aspects"].items() if any(s in rest for s in spellings))
        degrees = _degrees(rest, words["severities"])
        times = frozenset((m[1], m[2]) for m in re.finditer(claims["span"], low))
        graded = _levels(rest, claims["aspects"])
        if any(n in low for n in claims["negations"]):
            denied.add((sides, kinds))
        if graded:
            levels |= {(aspect, level, kinds) for aspect, level in graded}
        if degrees or times:
            clear = clear and len(kinds) == 1 and len(degrees) <= 1 and len(times) <= 1
            faults.add((kinds, sides - _implied(kinds), degrees, times))
        elif not graded:
            key |= kinds
    numbers = frozenset(NUMBER.findall(text))
    return Facts(frozenset(faults), frozenset(key), frozenset(levels), frozenset(denied), numbers, clear)


@cache
def _implied(kinds: frozenset[str]) -> frozenset[str]:
    """Sides that the names of the faults imply: "hum" and "hum in the sound" state the same."""
    from data_recipes.distortions import REGISTRY

    own = {REGISTRY[k].modality for k in kinds if k in REGISTRY}
    return frozenset(own | {"video", "audio"} if "sync" in own else own)


def _named(low: str, names: Mapping[str, str]) -> tuple[frozenset[str], str]:
    """Kinds named in a sentence, and the sentence without them; a longer name hides a shorter one inside it."""
    found = set()
    for kind, name in sorted(names.items(), key=lambda item: -len(item[1])):
        if name.lower() in low:
            found.add(kind)
            low = low.replace(name.lower(), " ")
    return frozenset(found), low


def _degrees(low: str, severities: Mapping[str, str]) -> frozenset[str]:
    return frozenset(s for s in SEVERITIES[1:] if re.search(rf"(?<![a-z]){severities[s]}", low))


def _levels(low: str, aspects: Mapping[str, list[str]]) -> set[tuple[str | None, str]]:
    """Every level word with the aspect named last before it."""
    spelled = {w: ("level", w) for w in WORDS} | {s: ("aspect", a) for a, group in aspects.items() for s in group}
    mentions = sorted(
        (m.start(), what, name)
        for spelling, (what, name) in spelled.items()
        for m in re.finditer(rf"(?<![a-z]){re.escape(spelling)}", low)
    )
    found: set[tuple[str | None, str]] = set()
    aspect = None
    for _, what, name in mentions:
        if what == "aspect":
            aspect = name
        else:
            found.add((aspect, name))
    return found
