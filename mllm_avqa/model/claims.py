"""What a description claims: faults with side, severity and time, sides in order, levels, numbers.

The one reader of claims: ratings, evaluation and training share it. Its words are those of prompts/claims.*.yaml and
faults.*.yaml: the names that this project teaches, and plain words by which other people and models say the same. A
plain word may cover several kinds ("blur").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from mllm_avqa.schema.faults import fault_kinds, shared_words
from mllm_avqa.schema.levels import VALUES, WORDS
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.words import load_prompts

FAR = 1000  # characters that a clause border between a fault and a degree counts as
WHOLE = (0.0, float("inf"))  # the time of a fault that is said to be there throughout


@dataclass(frozen=True)
class Fault:
    """A fault that a text claims, or (`denied`) says is not there. Fields that the text leaves open are None."""

    name: str  # the kind, or the plain word that covers several
    kinds: frozenset[str]
    side: str  # where it is: as the text says, else as the name implies
    severity: int | None = None  # index in SEVERITIES, 1-5
    span: tuple[float, float] | None = None  # seconds; WHOLE for "throughout"
    sentence: str = ""
    denied: bool = False

    def is_same(self, other: Fault) -> bool:
        """Whether both can be the same fault: one side, and one's kinds are among the other's."""
        one = self.kinds >= other.kinds or other.kinds >= self.kinds
        return one and self.side == other.side and self.denied == other.denied


@dataclass(frozen=True)
class Clean:
    """ "Nothing is wrong with the sound"; side None: with the whole clip. absent: "there is no sound"."""

    side: str | None
    sentence: str
    absent: bool = False


@dataclass(frozen=True)
class Level:
    """ "The picture is fair": a level word beside an aspect. denied: "the picture is not good"."""

    aspect: str
    word: str
    sentence: str
    denied: bool = False

    @property
    def value(self) -> float:
        return float(VALUES[WORDS.index(self.word)])


@dataclass(frozen=True)
class Claims:
    """What a text claims. `faults` holds every fault once, `said` every mention of one, those denied included."""

    faults: list[Fault]
    said: list[Fault]
    clean: list[Clean]
    levels: list[Level]
    score: float | None  # the last number "of 5"
    sides: list[tuple[str, str]] = field(default_factory=list)  # (sentence, side that it speaks of)


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
    sides: list[tuple[str, str]]  # (spelling, side)
    aspects: list[tuple[str, str]]
    severities: list[tuple[str, int]]  # (spelling, index), longest first
    spans: list[str]
    whole: list[str]
    clauses: list[str]
    joints: list[str]
    gone: str
    ends: str
    negations: list[str]
    denials: list[str]
    affirmed: list[str]
    score: str
    measured: str
    levels: list[tuple[str, str]]  # (spelling, level word)


@cache
def _words(language: str) -> _Words:
    claims, questions = load_prompts("claims", language), load_prompts("questions", language)
    degrees = [(questions["severities"][s], k) for k, s in enumerate(SEVERITIES) if k]
    degrees += [(w, SEVERITIES.index(s)) for s, words in claims["severities"].items() for w in words]
    lists = {name: claims[name] for name in ("spans", "clauses", "joints", "negations", "denials", "affirmed")}
    aspects = [(w, a) for a, words in claims["aspects"].items() for w in words]
    return _Words(
        kinds=_by_length(spellings(language).items()),
        sides=[(w, a) for w, a in aspects if a != "overall"]
        + [(w, s) for s, ws in claims["sides"].items() for w in ws],
        aspects=aspects,
        severities=_by_length(degrees),
        whole=sorted(claims["whole"], key=len, reverse=True),
        gone=claims["gone"],
        ends=claims["ends"],
        score=claims["score"],
        measured=claims["measured"],
        levels=[(f"={w}", w) for w in WORDS]
        + [(own, w) for w, own in load_prompts("words", language)["levels"].items() if own != w],
        **lists,
    )


def spellings(language: str) -> dict[str, list[Meaning]]:
    """What every word for a fault can mean. A taught name is not a plain word of its own side."""
    found: dict[str, list[Meaning]] = {}
    for kind, fault in fault_kinds().items():
        found.setdefault(fault.name(language).lower(), []).append((kind, frozenset([kind]), fault.side))
    plain = [(s.of(language), frozenset(s.kinds), side) for side, s in shared_words()]
    plain += [(f.also.of(language), frozenset([kind]), f.side) for kind, f in fault_kinds().items()]
    order = {side: n for n, side in enumerate(dict.fromkeys(f.side for f in fault_kinds().values()))}
    for words, kinds, side in sorted(plain, key=lambda p: order[p[2]]):
        for word in words:
            meanings = found.setdefault(word.lower(), [])
            if all(side != other for *_, other in meanings):
                meanings.append((word.strip("*"), kinds, side))
    return found


def _by_length(items: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Longer spellings first: they hide shorter ones inside them ("salt and pepper noise")."""
    return sorted(items, key=lambda item: -len(item[0]))


def sentences(text: str) -> list[str]:
    """Split at full stops, but not inside numbers ("2.5 s") or codec names ("H.264")."""
    return [s.strip() for s in re.split(r"(?<=[!?。！？])|(?<=\.)(?=\s|$)", text) if s.strip()]


def read_claims(text: str, language: str) -> Claims:
    """All claims of a text in "en" or "zh"; a fault that is named again is one claim."""
    w = _words(language)
    said: list[Fault] = []
    clean: list[Clean] = []
    levels: list[Level] = []
    spoken: list[tuple[str, str]] = []
    for sentence in sentences(text):
        low = re.sub(w.measured, lambda m: " " * len(m[0]), sentence.lower())
        kinds, rest = _take(low, w.kinds)
        _, rest = _take(rest, ((n, None) for n in w.affirmed))
        lost = [_Mention(m.start(), m.end(), None) for m in re.finditer(w.gone, rest)]
        left = re.sub(w.gone, lambda m: "_" * len(m[0]), rest)
        negations, _ = _take(left, ((n, None) for n in w.negations))
        graded, used = _levels(rest, w, sentence)
        levels += graded
        negations = [n for n in negations if not any(n.start < u.end and u.start < n.end for u in used)]
        denied = _denied(kinds, negations, low, w)
        said += _faults(low, rest, kinds, denied, w, sentence)
        sides = _sides(rest, w)
        clean += _gone(lost, kinds + negations, sides, low, w, sentence)
        # "there is no noise" says nothing of other faults: only a denial without a fault calls a side clean
        for d in negations:
            if any(_gap(k, d, low, w) < FAR for k in kinds):
                continue
            noun = next((s for s in sides if 0 <= s.start - d.end <= 1), None)
            gone = noun.what if noun and re.match(w.ends, low[noun.end :]) else None
            named = [m.what for m in (_closest(d, sides, low, w) if kinds else sides)]
            new = [Clean(gone, sentence, True)] if gone else [Clean(side, sentence) for side in named or [None]]
            clean += [c for c in dict.fromkeys(new) if c not in clean]
        spoken += [(sentence, a) for a in dict.fromkeys(m.what for m in _take(rest, w.aspects)[0])]
    numbers = [g for m in re.finditer(w.score, text) for g in m.groups() if g]
    score = float(numbers[-1]) if numbers else None
    return Claims(merged(f for f in said if not f.denied), said, clean, levels, score, spoken)


def merged(faults: Iterable[Fault]) -> list[Fault]:
    """A fault that comes again without anything new is the same claim; another degree or time is another claim."""
    out: list[Fault] = []
    for f in faults:
        for k, g in enumerate(out):
            agrees = all(None in (a, b) or a == b for a, b in ((f.severity, g.severity), (f.span, g.span)))
            if agrees and f.is_same(g):
                narrow = f if len(f.kinds) < len(g.kinds) else g
                severity = g.severity if g.severity is not None else f.severity
                out[k] = replace(narrow, severity=severity, span=g.span if g.span is not None else f.span)
                break
        else:
            out.append(f)
    return out


def _gone(
    lost: list[_Mention], others: list[_Mention], sides: list[_Mention], low: str, w: _Words, sentence: str
) -> list[Clean]:
    """Sides that are said to be missing ("the sound cannot be judged"), where their clause says nothing else."""
    alone = [g for g in lost if all(_gap(o, g, low, w) >= FAR for o in others)]
    named = [s.what for g in alone for s in _closest(g, sides, low, w)]
    return [Clean(side, sentence, True) for side in dict.fromkeys(named)]


def _faults(
    low: str, rest: str, kinds: list[_Mention], denied: list[_Mention], w: _Words, sentence: str
) -> Iterator[Fault]:
    """The faults of one sentence. A degree or time belongs to the nearest fault, borders of clauses count far."""
    if not kinds:
        return
    spans, left = _spans(rest, w)
    whole, left = _take(left, ((x, WHOLE) for x in w.whole))
    degrees, left = _take(left, w.severities)
    sides = _sides(left, w)
    there = [k for k in kinds if k not in denied]
    severity, span = _nearest(there, degrees, low, w), _nearest(there, spans + whole, low, w)
    for mention in kinds:
        said = {m.what for m in _closest(mention, sides, low, w)}
        name, covered, implied = next((m for m in mention.what if m[2] in said), mention.what[0])
        # "between picture and sound", "early sound in the picture": a timing fault has both sides
        side = implied if not said or implied in said or implied == "sync" else min(said)
        at = mention.start
        yield Fault(name, covered, side, severity.get(at), span.get(at), sentence, mention in denied)


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
    return _take(text, w.sides)[0]


def _levels(rest: str, w: _Words, sentence: str) -> tuple[list[Level], list[_Mention]]:
    """Every level word with the aspect named last before it, and the denials that speak of levels."""
    found = [("aspect", m) for spelling, a in w.aspects for m in _each(spelling, rest, a)]
    found += [("level", m) for spelling, word in w.levels for m in _each(spelling, rest, word)]
    found += [("denial", m) for m in _take(rest, ((spelling, None) for spelling in w.denials))[0]]
    found += [("clause", _Mention(m.start(), m.end(), c)) for c in w.clauses for m in re.finditer(re.escape(c), rest)]
    levels: list[Level] = []
    used: list[_Mention] = []
    aspect: str | None = None
    denials: list[_Mention] = []  # of the clause
    for what, m in sorted(found, key=lambda f: f[1].start):
        if what == "aspect":
            aspect = m.what
        elif what == "clause":
            denials = []
        elif what == "denial":
            denials.append(m)
        elif aspect is not None:
            levels.append(Level(aspect, m.what, sentence, bool(denials)))
            used += denials
    return levels, used


# ---- finding --------------------------------------------------------------------------------------------------------


@cache
def _pattern(spelling: str) -> re.Pattern[str]:
    """A word with its borders (Chinese has none). * leaves an end open; "=good" is "good" alone, not "goods"."""
    exact = spelling.startswith("=")
    word = spelling.strip("*=").lower()
    before = r"(?<![a-z])" if word[:1].isascii() and not spelling.startswith("*") else ""
    after = "" if not word[-1:].isascii() or spelling.endswith("*") else r"(?![a-z])"
    return re.compile(before + re.escape(word) + ("(?:s|ly)?" if after and not exact else "") + after)


def _each(spelling: str, text: str, what: Any) -> Iterator[_Mention]:
    return (_Mention(m.start(), m.end(), what) for m in _pattern(spelling).finditer(text))


def side_words(language: str) -> list[tuple[str, str]]:
    """Every word for a side or the whole clip, and which it is."""
    w = _words(language)
    return [*w.sides, *w.aspects]


def named(text: str, words: Iterable[tuple[str, Any]]) -> list[tuple[int, int, Any]]:
    """Where a text in small letters names any of `words`, and what they mean; earlier words hide later ones."""
    return [(m.start, m.end, m.what) for m in _take(text, words)[0]]


def _take(text: str, words: Iterable[tuple[str, Any]]) -> tuple[list[_Mention], str]:
    """Mentions in order, and the text with them blanked out; earlier words of the list hide later ones."""
    found: list[_Mention] = []
    for spelling, what in words:
        for m in list(_each(spelling, text, what)):
            found.append(m)
            text = text[: m.start] + "_" * (m.end - m.start) + text[m.end :]
    return sorted(found, key=lambda m: m.start), text


def _spans(text: str, w: _Words) -> tuple[list[_Mention], str]:
    found: list[_Mention] = []
    for pattern in w.spans:
        for m in list(re.finditer(pattern, text)):
            found.append(_Mention(m.start(), m.end(), (float(m[1]), float(m[2]))))
            text = text[: m.start()] + "_" * (m.end() - m.start()) + text[m.end() :]
    return sorted(found, key=lambda m: m.start), text


def _gap(a: _Mention, b: _Mention, text: str, w: _Words) -> int:
    between = text[a.end : b.start] if a.start < b.start else text[b.end : a.start]
    return len(between) + FAR * sum(between.count(c) for c in w.clauses)


def _nearest(kinds: list[_Mention], details: list[_Mention], text: str, w: _Words) -> dict[int, Any]:
    """Start of the fault -> what the nearest of its details says."""
    best: dict[int, tuple[int, Any]] = {}
    for d in details if kinds else ():
        gap, at = min((_gap(m, d, text, w), m.start) for m in kinds)
        if at not in best or gap < best[at][0]:
            best[at] = (gap, d.what)
    return {at: what for at, (_, what) in best.items()}


def _closest(kind: _Mention, sides: list[_Mention], text: str, w: _Words) -> list[_Mention]:
    """The sides of the nearest clause that names any."""
    if not sides:
        return []
    least = min(_gap(kind, s, text, w) // FAR for s in sides)
    return [s for s in sides if _gap(kind, s, text, w) // FAR == least]
