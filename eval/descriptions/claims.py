"""What a description claims: faults with side, severity and time, sides in order, levels, numbers.

The words are those of prompts/claims.*.yaml and questions.*.yaml, which the project teaches, and of faults.*.yaml, by
which other people and models say the same. A plain word may cover several kinds ("blur").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from mllm_avqa.model.explain import sentences
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.levels import VALUES, WORDS
from mllm_avqa.schema.measurement import SEVERITIES

FAR = 1000  # characters that a clause border between a fault and a degree counts as
WHOLE = (0.0, float("inf"))  # the time of a fault that is said to be there throughout


@dataclass(frozen=True)
class Fault:
    """A fault that a text claims. Fields that the text leaves open are None."""

    name: str  # the kind, or the plain word that covers several
    kinds: frozenset[str]
    side: str  # where it is: as the text says, else as the name implies
    severity: int | None = None  # index in SEVERITIES, 1-5
    span: tuple[float, float] | None = None  # seconds; WHOLE for "throughout"
    sentence: str = ""


@dataclass(frozen=True)
class Clean:
    """ "Nothing is wrong with the sound"; side None: with the whole clip."""

    side: str | None
    sentence: str


@dataclass(frozen=True)
class Level:
    """ "The picture is fair": the value 1-5 of a level word beside an aspect."""

    aspect: str
    value: float
    sentence: str


@dataclass(frozen=True)
class Claims:
    faults: list[Fault]
    clean: list[Clean]
    levels: list[Level]
    score: float | None  # the last number "of 5"


Meaning = tuple[str, frozenset[str], str]  # name, kinds, side


@dataclass(frozen=True)
class _Mention:
    start: int
    end: int
    what: Any


@dataclass(frozen=True)
class _Words:
    """Everything that is looked for in one language."""

    kinds: list[tuple[str, list[Meaning]]]  # by spelling, longest first
    sides: dict[str, list[str]]
    aspects: dict[str, list[str]]
    severities: list[tuple[str, int]]  # (spelling, index), longest first
    spans: list[str]
    whole: list[str]
    clauses: list[str]
    joints: list[str]
    negations: list[str]
    score: str


@cache
def kind_sides() -> Mapping[str, str]:
    """Side of every kind that the words know."""
    return {
        k: side for side, groups in load_prompts("faults", "en")["faults"].items() for g in groups for k in g["kinds"]
    }


@cache
def _words(language: str) -> _Words:
    claims, questions, faults = (load_prompts(n, language) for n in ("claims", "questions", "faults"))
    sides = kind_sides()
    kinds: dict[str, list[Meaning]] = {}
    for kind, name in questions["names"].items():
        kinds.setdefault(name.lower(), []).append((kind, frozenset([kind]), sides[kind]))
    for side, groups in faults["faults"].items():
        for g in groups:
            for word in g["words"]:
                found = kinds.setdefault(word.lower(), [])
                if all(side != other for *_, other in found):  # a taught name is not a plain word of its side
                    found.append((word.strip(), frozenset(g["kinds"]), side))
    degrees = [(questions["severities"][s], k) for k, s in enumerate(SEVERITIES) if k]
    degrees += [(w, SEVERITIES.index(s)) for s, words in faults["severities"].items() for w in words]
    whole = [questions["span"]["whole"], *load_prompts("steps", language)["span"]["whole"], *faults["whole"]]
    return _Words(
        kinds=sorted(kinds.items(), key=lambda k: -len(k[0])),
        sides={a: [*claims["aspects"][a], *faults["sides"][a]] for a in faults["sides"]},
        aspects=dict(claims["aspects"]),
        severities=sorted(degrees, key=lambda d: -len(d[0])),
        spans=[claims["span"], *faults["spans"]],
        whole=sorted(set(whole), key=lambda w: -len(w)),
        clauses=list(faults["clauses"]),
        joints=list(faults["joints"]),
        negations=[n.lower() for n in (*claims["negations"], *faults["negations"])],
        score=faults["score"],
    )


def read_claims(text: str, language: str) -> Claims:
    """All claims of a text in "en" or "zh"; a fault that is named again is one claim."""
    w = _words(language)
    faults: list[Fault] = []
    clean: list[Clean] = []
    levels: list[Level] = []
    for sentence in sentences(text):
        low = f" {sentence.lower()} "
        kinds, rest = _take(low, w.kinds)
        levels += _levels(rest, w, sentence)
        denials, _ = _take(rest, ((n, None) for n in w.negations))
        denied = _denied(kinds, denials, low, w)
        faults += _faults(low, rest, [k for k in kinds if k not in denied], w, sentence)
        # "there is no noise" says nothing of other faults: only a denial without a fault calls a side clean
        for d in (d for d in denials if all(_gap(k, d, low, w) >= FAR for k in kinds)):
            sides = _sides(rest, w)
            named = [m.what for m in (_closest(d, sides, low, w) if kinds else sides)]
            clean += [c for side in dict.fromkeys(named or [None]) if (c := Clean(side, sentence)) not in clean]
    numbers = [g for m in re.finditer(w.score, text) for g in m.groups() if g]
    return Claims(_merged(faults), clean, levels, float(numbers[-1]) if numbers else None)


def _faults(low: str, rest: str, kinds: list[_Mention], w: _Words, sentence: str) -> Iterator[Fault]:
    """The faults of one sentence. A degree or time belongs to the nearest fault, borders of clauses count far."""
    if not kinds:
        return
    spans, left = _spans(rest, w)
    whole, left = _take(left, ((x, WHOLE) for x in w.whole))
    degrees, left = _take(left, w.severities)
    sides = _sides(left, w)
    severity, span = _nearest(kinds, degrees, low, w), _nearest(kinds, spans + whole, low, w)
    for k, mention in enumerate(kinds):
        said = {m.what for m in _closest(mention, sides, low, w)}
        name, covered, implied = next((m for m in mention.what if m[2] in said), mention.what[0])
        # "between picture and sound", "early sound in the picture": a timing fault has both sides
        side = implied if not said or implied in said or implied == "sync" else min(said)
        yield Fault(name, covered, side, severity.get(k), span.get(k), sentence)


def _denied(kinds: list[_Mention], denials: list[_Mention], low: str, w: _Words) -> list[_Mention]:
    """Faults that a denial of their clause is about, and those that go on its list: "no noise, hum or clicks".

    It is about what follows ("blurred without noise"), or else about what precedes ("noise is not to be seen").
    """
    about: list[_Mention] = []
    for d in denials:
        near = [k for k in kinds if _gap(k, d, low, w) < FAR]
        about += [k for k in near if k.start > d.start] or near
    out: list[_Mention] = []
    last: _Mention | None = None
    for k in kinds:
        listed = bool(out) and out[-1] is last and low[out[-1].end : k.start] in w.joints
        if listed or k in about:
            out.append(k)
        last = k
    return out


def _sides(text: str, w: _Words) -> list[_Mention]:
    return _take(text, ((s, side) for side, spellings in w.sides.items() for s in spellings))[0]


def _levels(rest: str, w: _Words, sentence: str) -> Iterator[Level]:
    """Every level word with the aspect named last before it."""
    found = [(m.start, "aspect", m.what) for a, ss in w.aspects.items() for s in ss for m in _each(s, rest, a)]
    found += [(m.start, "level", m.what) for word in WORDS for m in _each(word, rest, word)]
    aspect: str | None = None
    for _, what, name in sorted(found):
        if what == "aspect":
            aspect = name
        elif aspect is not None:
            yield Level(aspect, float(VALUES[WORDS.index(name)]), sentence)


def _merged(faults: Iterable[Fault]) -> list[Fault]:
    """A fault that comes again without anything new is the same claim; another degree or time is another claim."""
    out: list[Fault] = []
    for f in faults:
        for k, g in enumerate(out):
            same = f.kinds >= g.kinds or g.kinds >= f.kinds
            agrees = all(None in (a, b) or a == b for a, b in ((f.severity, g.severity), (f.span, g.span)))
            if same and agrees:
                narrow = f if len(f.kinds) < len(g.kinds) else g
                severity = g.severity if g.severity is not None else f.severity
                out[k] = replace(narrow, severity=severity, span=g.span if g.span is not None else f.span)
                break
        else:
            out.append(f)
    return out


# ---- finding --------------------------------------------------------------------------------------------------------


def _find(spelling: str, text: str) -> re.Match[str] | None:
    return next(_matches(spelling, text), None)


def _matches(spelling: str, text: str) -> Iterator[re.Match[str]]:
    """A word starts where a word starts (not in Chinese); its end is open: "blur" finds "blurred"."""
    start = r"(?<![a-z])" if spelling[:1].isascii() else ""
    return re.finditer(start + re.escape(spelling.lower()), text)


def _each(spelling: str, text: str, what: Any) -> Iterator[_Mention]:
    return (_Mention(m.start(), m.end(), what) for m in _matches(spelling, text))


def _take(text: str, words: Iterable[tuple[str, Any]]) -> tuple[list[_Mention], str]:
    """Mentions in order, and the text with them blanked out; earlier words of the list hide later ones."""
    found: list[_Mention] = []
    for spelling, what in words:
        for m in list(_each(spelling, text, what)):
            found.append(m)
            text = text[: m.start] + " " * (m.end - m.start) + text[m.end :]
    return sorted(found, key=lambda m: m.start), text


def _spans(text: str, w: _Words) -> tuple[list[_Mention], str]:
    found: list[_Mention] = []
    for pattern in w.spans:
        for m in list(re.finditer(pattern, text)):
            found.append(_Mention(m.start(), m.end(), (float(m[1]), float(m[2]))))
            text = text[: m.start()] + " " * (m.end() - m.start()) + text[m.end() :]
    return sorted(found, key=lambda m: m.start), text


def _gap(a: _Mention, b: _Mention, text: str, w: _Words) -> int:
    between = text[a.end : b.start] if a.start < b.start else text[b.end : a.start]
    return len(between) + FAR * sum(between.count(c) for c in w.clauses)


def _nearest(kinds: list[_Mention], details: list[_Mention], text: str, w: _Words) -> dict[int, Any]:
    """Place of the fault -> what the nearest of its details says."""
    best: dict[int, tuple[int, Any]] = {}
    for d in details:
        gap, k = min((_gap(m, d, text, w), k) for k, m in enumerate(kinds))
        if k not in best or gap < best[k][0]:
            best[k] = (gap, d.what)
    return {k: what for k, (_, what) in best.items()}


def _closest(kind: _Mention, sides: list[_Mention], text: str, w: _Words) -> list[_Mention]:
    """The sides of the nearest clause that names any."""
    if not sides:
        return []
    least = min(_gap(kind, s, text, w) // FAR for s in sides)
    return [s for s in sides if _gap(kind, s, text, w) // FAR == least]
