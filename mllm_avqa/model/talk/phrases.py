"""What answers are made of: a question with what it refers to, and the parts that their sentences share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mllm_avqa.model.explain import filled
from mllm_avqa.model.findings import borne_out
from mllm_avqa.model.talk.reading import Query
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.names import SIDES
from mllm_avqa.schema.rating import Finding, Rating, ScoreDistribution
from mllm_avqa.schema.words import load_prompts, translated

THERE = SEVERITIES.index("slight")  # from which a fact alone says that a fault is there
REFERRING = ("when", "why", "fix", "presence", "sure")  # topics that ask on about what was spoken of


@dataclass(frozen=True)
class Answer:
    """topic None: refused. kinds, sides: what it spoke of, which the next question may ask on about."""

    text: str
    topic: str | None = None
    kinds: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        return self.topic is None


@dataclass
class Phrases:
    """One question to one rating. last: the last answer that was none of those refused."""

    q: Query
    rating: Rating
    last: Answer | None = None

    def __post_init__(self) -> None:
        self.language = self.q.language
        self.words = load_prompts("chat", self.language)
        self.explain = load_prompts("explain", self.language)
        self.names = self.words["aspects"]
        self.levels = load_prompts("words", self.language)["levels"]
        self.severities = load_prompts("questions", self.language)["severities"]
        self.sides, self.kinds, self.topic = self.q.sides, self.q.kinds, self.q.topic
        self._refer()
        self.say: dict[str, Any] = self.words["topics"].get(self.topic, {})

    def _refer(self) -> None:
        """Fill what a question leaves to the one before."""
        if self.topic == "again":
            self.topic = "presence" if self.kinds else self.last.topic if self.last else "score"
        elif self.last is not None and self.topic in REFERRING and not self.kinds and not self.sides:
            self.kinds, self.sides = self.last.kinds, self.last.sides
        if self.topic in ("limit", "score") and self.q.facts and not self.sides:
            self.topic = "fact"
        if self.topic == "presence" and not self.kinds:
            self.topic = "fact" if self.q.facts else "faults"
        if self.topic in ("when", "fix") and self.kinds and not self._found():
            self.topic = "presence"

    def _list(self, parts: Sequence[str]) -> str:
        *others, last = parts or [""]
        return str(self.words["joint"].join(others) + self.words["last"] + last if others else last)

    def _sentences(self, parts: Sequence[str]) -> str:
        return str(self.words["sentences"].join(map(capital, parts)))

    def _told(self, text: str) -> str:
        """What rooms said, in the language of the question, which a rating in Chinese has no English for."""
        return text if self.rating.language == self.language else translated(text, self.language)

    def _of(self) -> str:
        """The aspect that is asked about: overall unless it is said."""
        return self.sides[0] if self.sides else "overall"

    def _score(self, aspect: str) -> ScoreDistribution | None:
        return self.rating.scores.get(aspect)

    def _unscored(self, aspect: str) -> str:
        why = self._told(self.rating.missing.get(aspect, ""))
        told = self.words["why"].format(why=why) if why else ""
        return str(self.words["unscored"].format(aspect=self.names[aspect], why=told))

    def _bare(self, aspect: str) -> str:
        """Without an article, for lists."""
        return str(load_prompts("questions", self.language)["aspects"][aspect])

    def _interval(self, s: ScoreDistribution) -> str:
        i = s.interval
        return str(self.words["interval"].format(low=f"{i.low:.2f}", high=f"{i.high:.2f}")) if i else ""

    def _found(self) -> list[Finding]:
        """The findings that are asked about, the costliest first."""
        own = [
            f for f in self.rating.findings
            if (not self.kinds or f.kind in self.kinds) and (self._any_side() or f.side in self.sides)
        ]  # fmt: skip
        return sorted(own, key=lambda f: (-f.gain, -SEVERITIES.index(f.severity)))

    def _any_side(self) -> bool:
        return not self.sides or "overall" in self.sides

    def _fault(self, f: Finding, template: str, doubted: bool = False) -> str:
        """A finding in a template; what is not likely with a "possibly", unless that was said before."""
        told = filled(f, self.rating, self.explain)
        if not doubted and not borne_out(f, self.rating):
            told["fault"] = self.words["doubt"].format(fault=told["fault"])
        return template.format(**told, side=self.names[f.side])

    def _spoke(self, found: Sequence[Finding]) -> None:
        """What the next question may ask on about."""
        self.kinds, self.sides = tuple(f.kind for f in found), tuple(dict.fromkeys(f.side for f in found))

    def _where(self) -> str:
        given = [self.names[s] for s in self.sides[:1] if s != "overall"]
        return self.words["topics"]["faults"]["where"].format(side=given[0]) if given else ""

    def _below(self) -> bool:
        return any(w in self.q.text.lower() for w in self.words["below"])

    def _yes(self, yes: bool) -> str:
        return str(self.words["words"]["yes" if yes else "no"])

    def _grade(self, m: Measurement) -> str:
        return str(self.severities[m.severity])

    def _three(self) -> str:
        scored = [s for s in SIDES if self.rating.scores.get(s) is not None]
        held = {"finding": bool(self.rating.findings), "score": bool(scored), "media": True}
        best = self.names[scored[0]] if scored else ""
        return self._list([t["say"].format(best=best) for t in self.words["three"] if held[t["needs"]]][:3])


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
