"""What a question asks: its language, its topic, and the sides, faults, facts and numbers that it names.

The topic is learnt from the written paraphrases of prompts/chat.<language>.yaml, in which sides, faults, facts and
numbers are blanks: a kernel ridge regression on words and parts of words, solved in closed form when the first question
comes. It gives up below a threshold, so that what is not asked about the rating is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from mllm_avqa.evidence.catalogue import ALL_FACTS, fact_name
from mllm_avqa.model.claims import named, side_words, spellings
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.words import load_prompts

MOST_CHARACTERS = 1000  # of a question
OTHER = "other"  # the topic of what the rating does not know
PRESENCE = "presence"  # whether a fault is there
BARE = 2  # words, blanks among them, of a question that does no more than name a fault
RIDGE = 0.3  # chosen with the threshold: `TopicReader.left_out`
CLOSE = 0.8  # likeness from which an unknown word is taken for a misspelt known one
SHORTEST = 4  # letters of a word that can be misspelt
BLANKS = ("{kind}", "{fact}", "{side}", "{sync}", "{text}", "{number}")
_TOKEN = re.compile(r"\{[a-z]+\}|[a-z]+(?:'[a-z]+)?|[^\W\d_]")
_NUMBER = re.compile(r"(?<![\d.a-z])-?\d+(?:[.,]\d+)?")
_HAN = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True)
class Query:
    """A question as it was read. topic None: nothing that a rating can answer."""

    text: str
    language: str
    topic: str | None
    sides: tuple[str, ...] = ()  # aspects, in the order in which they are named
    kinds: tuple[str, ...] = ()  # of faults
    spelling: str = ""  # of the fault, as it was asked
    facts: tuple[str, ...] = ()
    number: float | None = None
    sure: float = 0.0  # how much the topic stands out, about 0 to 1


def language_of(text: str, known: Sequence[str], default: str) -> str:
    """The language of a question. Raises ConfigError for one that is too long or in a language that is not known."""
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"a question of {len(text)} characters: at most {MOST_CHARACTERS} can be asked (chat)")
    letters = [c for c in text if c.isalpha()]
    if _HAN.search(text):
        found = "zh"
    elif letters and not all(c.isascii() or "LATIN" in unicodedata.name(c, "") for c in letters):
        script = unicodedata.name(next(c for c in letters if not c.isascii()), "unknown").split()[0].capitalize()
        raise ConfigError(f"a question in {script} letters: {', '.join(known)} can be asked here (chat)")
    else:
        found = "en" if letters else default
    if found not in known:
        raise ConfigError(f"a question in language {found!r}: this checkpoint answers in {', '.join(known)} (chat)")
    return found


def read(text: str, language: str) -> Query:
    """What a question asks."""
    return reader(language).read(text)


@dataclass(frozen=True)
class Blanked:
    """A text with blanks for what it names, and what that was."""

    text: str
    language: str
    sides: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    spelling: str = ""
    facts: tuple[str, ...] = ()
    number: float | None = None


@dataclass
class TopicReader:
    """The paraphrases of one language, and what was learnt from them."""

    language: str
    texts: list[str]
    topics: list[str]  # by text
    threshold: float
    names: list[str] = field(init=False)  # of the topics

    def __post_init__(self) -> None:
        self.names = list(dict.fromkeys(self.topics))
        found = [blanked(t, self.language) for t in self.texts]
        asked: dict[tuple[str, ...], set[str]] = {}
        for f, topic in zip(found, self.topics, strict=True):
            asked.setdefault(_spoken(f), set()).add(topic)
        self._verbatim = {f: min(told) for f, told in asked.items() if len(told) == 1}
        parts = [set(_parts(f)) for f in found]
        seen = Counter(p for own in parts for p in own)
        self._columns = {p: k for k, p in enumerate(seen)}
        self._rarity = {p: float(np.log((1 + len(parts)) / (1 + n)) + 1) for p, n in seen.items()}
        self._rarest = float(np.log(1 + len(parts)) + 1)
        table = np.array([self._vector(own) for own in parts])
        self._targets = np.array([[float(t == name) for name in self.names] for t in self.topics])
        self._inverse = np.linalg.inv(table @ table.T + RIDGE * np.eye(len(parts)))
        self._learnt = self._inverse @ self._targets
        self._weights = table.T @ self._learnt  # [parts, topics]

    def _vector(self, parts: set[str]) -> np.ndarray:
        """Of length one; a part that was never seen counts as a rare one, so that strange questions are near none."""
        out, norm = np.zeros(len(self._columns)), 0.0
        for p in parts:
            x = self._rarity.get(p, self._rarest) * (0.5 if p[0] == "~" else 1.0)
            norm += x * x
            if p in self._columns:
                out[self._columns[p]] = x
        return out / (norm**0.5 or 1.0)

    def scores(self, found: Blanked) -> np.ndarray:
        """How much a question looks like each topic, about 0 to 1."""
        told: np.ndarray = self._vector(set(_parts(found))) @ self._weights
        return told

    def left_out(self) -> np.ndarray:
        """Scores [texts, topics] of each paraphrase as if it had not been learnt from."""
        told: np.ndarray = self._targets - self._learnt / np.diag(self._inverse)[:, None]
        return told

    def read(self, text: str) -> Query:
        found = blanked(text, self.language)
        scores = self.scores(found)
        best = int(scores.argmax())
        topic = self.names[best]
        learnt = self._verbatim.get(_spoken(found))  # a paraphrase word for word is never refused
        topic = learnt or topic
        refused = topic == OTHER or scores[best] < self.threshold
        if learnt is None and refused and found.kinds and (topic == PRESENCE or len(_spoken(found)) <= BARE):
            learnt = topic = PRESENCE  # a fault is named, with nothing that is likelier to be asked of it
        known = topic != OTHER and (learnt is not None or scores[best] >= self.threshold)
        return Query(
            text, self.language, topic if known else None, found.sides, found.kinds, found.spelling, found.facts,
            found.number, round(float(scores[best]), 4),
        )  # fmt: skip


def _spoken(found: Blanked) -> tuple[str, ...]:
    """The words of a question, articles left out, which a blank may have or not."""
    return tuple(w for w in re.findall(r"\{[a-z]+\}|[\w']+", found.text.lower()) if w != "the")


@cache
def reader(language: str) -> TopicReader:
    words = load_prompts("chat", language)
    asked = [(ask.lower(), topic) for topic, entry in words["topics"].items() for ask in entry["ask"]]
    return TopicReader(language, [a for a, _ in asked], [t for _, t in asked], float(words["threshold"]))


def _parts(found: Blanked) -> Iterator[str]:
    """Words, pairs of them, how longer ones begin; of Chinese, characters, pairs and threes; groups; what is named."""
    groups = sorted({group for word, group in _groups(found.language) if named(found.text, [(word, None)])})
    yield from (f"={g}" for g in groups)
    yield from (f"={a}&{b}" for a, b in combinations(groups, 2))
    tokens = ["^", *_TOKEN.findall(found.text), "$"]
    yield from (f"#{b}{tokens.count(b)}" for b in BLANKS if b in tokens)
    yield from tokens[1:-1]
    yield from map("_".join, pairwise(tokens))
    yield from ("_".join(t) for t in zip(tokens, tokens[1:], tokens[2:], strict=False) if _HAN.search("".join(t)))
    for word in tokens[1:-1]:
        if word.isascii() and word[0] != "{" and len(word) >= SHORTEST:
            yield from ("~" + word[:n] for n in (3, 4, 5))


@cache
def _groups(language: str) -> tuple[tuple[str, str], ...]:
    return tuple((w, group) for group, own in load_prompts("chat", language)["alike"].items() for w in own)


# ---- blanks ---------------------------------------------------------------------------------------------------------


def blanked(text: str, language: str) -> Blanked:
    """A question with {kind}, {fact}, {side}, {sync}, {text} and {number} for what it names."""
    low = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    low = _spelt(_greeting(language).sub("", low) or low, language)
    found = named(low, _lexicon(language))
    taken = [(a, z, _blank(what, v)) for a, z, (what, v) in found]
    numbers = [(a, float(v)) for a, _, (what, v) in found if what == "number"]
    for m in _NUMBER.finditer(low):
        if all(m.end() <= a or m.start() >= z for a, z, _ in taken):
            numbers.append((m.start(), float(m[0].replace(",", "."))))
            taken.append((m.start(), m.end(), "{number}"))
    sides = tuple(dict.fromkeys(v for *_, (what, v) in found if what == "side"))
    facts = tuple(dict.fromkeys(v for *_, (what, v) in found if what == "fact"))
    ends = {z for _, z, (what, _) in found if what == "kind"}  # "crackling noises" are no noise besides
    asked = [(low[a:z], v) for a, z, (what, v) in found if what == "kind" and (a - 1 not in ends or low[a - 1] != " ")]
    kinds = tuple(dict.fromkeys(k for _, own in asked for k in own))
    there = {fault_kinds()[k].side for k in kinds} & set(sides)
    kinds = tuple(k for k in kinds if not there or fault_kinds()[k].side in there)
    for a, z, blank in sorted(taken, reverse=True):
        low = f"{low[:a]} {blank} {low[z:]}"
    number = min(numbers)[1] if numbers else None
    return Blanked(low, language, sides, kinds, asked[0][0] if asked else "", facts, number)


@cache
def _greeting(language: str) -> re.Pattern[str]:
    """What polite people begin with, before their question."""
    words = sorted(load_prompts("chat", language)["greetings"], key=len, reverse=True)
    return re.compile(rf"^(?:(?:{'|'.join(words)})(?![a-z])[\s,.:;!，。：！、]*)+(?=.)")


def _blank(what: str, value: Any) -> str:
    """Timing and texts have questions of their own, so that they are no blank like picture and sound."""
    if what == "kind" and all(fault_kinds()[k].side == "sync" for k in value):
        return "{sync}"
    return f"{{{value if what == 'side' and value in ('sync', 'text') else what}}}"


@cache
def _lexicon(language: str) -> tuple[tuple[str, tuple[str, Any]], ...]:
    """Every spelling that is a blank, longest first: they hide shorter ones inside them."""
    words = load_prompts("chat", language)
    found: dict[str, tuple[str, Any]] = {w.lower(): ("side", side) for w, side in side_words(language)}
    for side, own in words["sides"].items():
        found |= {w.lower(): ("side", side) for w in own}
    for name in ALL_FACTS:
        found[fact_name(name, language).replace("_", " ")] = ("fact", name)
    for name, own in words["facts"].items():
        found |= {w.lower(): ("fact", name) for w in own}
    for spelling, kinds in spellings_of_kinds(language).items():
        found[spelling] = ("kind", kinds)
    found |= {w: ("number", n) for w, n in words["numbers"].items()}
    for topic in ("resolution", "frame_rate", "bitrate"):  # what the file says of them is a topic of its own
        found.pop(fact_name(topic, language).replace("_", " "), None)
    return tuple(sorted(found.items(), key=lambda f: -len(f[0])))


def spellings_of_kinds(language: str) -> dict[str, tuple[str, ...]]:
    """Every word for a fault and the kinds it can mean, on all sides."""
    found = {w: tuple(sorted({k for _, ks, _ in meanings for k in ks})) for w, meanings in spellings(language).items()}
    return found | {w: tuple(ks) for w, ks in load_prompts("chat", language)["kinds"].items()}


@cache
def _vocabulary(language: str) -> tuple[str, ...]:
    texts = [*(w for w, _ in _lexicon(language)), *(w for w, _ in _groups(language)), *reader_texts(language)]
    return tuple(sorted({w for t in texts for w in re.findall("[a-z]+", t) if len(w) >= SHORTEST}))


def reader_texts(language: str) -> list[str]:
    return [a.lower() for t in load_prompts("chat", language)["topics"].values() for a in t["ask"]]


def _spelt(text: str, language: str) -> str:
    """With words that nobody knows as the known ones that they are nearly like."""
    known = _vocabulary(language)

    def mended(m: re.Match[str]) -> str:
        word = m[0]
        if (
            len(word) < SHORTEST
            or word in known
            or any(word.startswith(k) for k in (word[:-1], word[:-2]) if k in known)
        ):
            return word
        return next(iter(get_close_matches(word, known, 1, CLOSE)), word)

    return re.sub("[a-z]+", mended, text)
