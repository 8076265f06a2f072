"""What a rating answers to a question, in sentences of prompts/chat.<language>.yaml filled from its own data.

Every topic of that file that has a `say` is a method of `Answers` with its name. What is not about the rating is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.model.explain import filled, measured_text, told_fact, told_name, told_value
from mllm_avqa.model.talk.reading import Question
from mllm_avqa.model.verdicts import seen_by
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.names import SIDES
from mllm_avqa.schema.rating import Finding, Rating, ScoreDistribution
from mllm_avqa.schema.words import load_prompts, translated

THERE = SEVERITIES.index("slight")  # from which a fact alone says that a fault is there
SAME = 0.15  # points that beginning and end may differ by and still be about the same
MOST_QUOTES, QUOTED = 3, 120  # texts of a clip in an answer, and characters of each
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


def answer(question: Question, rating: Rating, before: Sequence[Answer] = ()) -> Answer:
    """The answer to a question on a rating, after others."""
    last = next((a for a in reversed(before) if not a.refused), None)
    return Answers(question, rating, last).given()


@dataclass
class Answers:
    """One question to one rating. last: the last answer that was none of those refused."""

    q: Question
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

    def given(self) -> Answer:
        if self.topic is None:
            return self.refused()
        ask: Callable[[], str | None] = getattr(self, self.topic)
        text = ask()
        if text is None:
            return self.refused()
        return Answer(_capital(text), self.topic, self.kinds, self.sides)

    def refused(self) -> Answer:
        return Answer(self.words["refuse"].format(three=self._three()))

    def _three(self) -> str:
        scored = [s for s in SIDES if self.rating.scores.get(s) is not None]
        held = {"finding": bool(self.rating.findings), "score": bool(scored), "media": True}
        best = self.names[scored[0]] if scored else ""
        return self._list([t["say"].format(best=best) for t in self.words["three"] if held[t["needs"]]][:3])

    # ---- parts of sentences -----------------------------------------------------------------------------------------

    def _list(self, parts: Sequence[str]) -> str:
        *others, last = parts or [""]
        return str(self.words["joint"].join(others) + self.words["last"] + last if others else last)

    def _sentences(self, parts: Sequence[str]) -> str:
        return str(self.words["sentences"].join(map(_capital, parts)))

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

    def _fault(self, f: Finding, template: str) -> str:
        return template.format(**filled(f, self.rating, self.explain), side=self.names[f.side])

    def _spoke(self, found: Sequence[Finding]) -> None:
        """What the next question may ask on about."""
        self.kinds, self.sides = tuple(f.kind for f in found), tuple(dict.fromkeys(f.side for f in found))

    def _where(self) -> str:
        given = [self.names[s] for s in self.sides[:1] if s != "overall"]
        return self.words["topics"]["faults"]["where"].format(side=given[0]) if given else ""

    def _telling(self, side: str) -> list[Measurement]:
        own = [m for m in self.rating.evidence if m.modality == side and m.value is not None and not _content(m.name)]
        own = [m for m in own if SEVERITIES.index(m.severity) >= THERE]
        return sorted(own, key=lambda m: -SEVERITIES.index(m.severity))[:2]

    # ---- scores -----------------------------------------------------------------------------------------------------

    def score(self) -> str:
        aspects = [*self.sides] or ["overall"]
        told, say = list[str](), self.words["topics"]["score"]["say"]
        for a in aspects:
            s = self._score(a)
            told.append(
                say.format(
                    aspect=self.names[a], score=f"{s.score:.2f}", level=self.levels[s.level], interval=self._interval(s)
                )
                if s
                else self._unscored(a)
            )  # fmt: skip
        others = [f"{self._bare(a)} {s.score:.2f}" for a in SIDES if (s := self._score(a)) is not None]
        if not self.sides and others:
            told.append(self.words["topics"]["scores"]["say"].format(list=self._list(others)))
        return self._sentences(told)

    def limit(self) -> str:
        of, limit = self._of(), self.q.number
        s = self._score(of)
        if limit is None:
            return self.score()
        if s is None:
            return self._unscored(of)
        relation = "at" if round(s.score, 2) == limit else "above" if s.score > limit else "below"
        yes = (relation == "below") if self._below() else (relation != "below")
        return str(
            self.say["say"].format(
                yes=self._yes(yes), aspect=self.names[of], score=f"{s.score:.2f}", interval=self._interval(s),
                relation=self.say["relation"][relation], number=f"{limit:g}",
            )
        )  # fmt: skip

    def _below(self) -> bool:
        return any(w in self.q.text.lower() for w in self.words["below"])

    def _yes(self, yes: bool) -> str:
        return str(self.words["words"]["yes" if yes else "no"])

    def worst_side(self) -> str:
        sides = [s for s in self.sides if s in SIDES] if len(set(self.sides) & set(SIDES)) > 1 else SIDES
        given = {a: s.score for a in sides if (s := self._score(a)) is not None}
        if not given:
            return self._unscored(sides[0])
        low, high = min(given, key=lambda a: given[a]), max(given, key=lambda a: given[a])
        told = {"low_aspect": self.names[low], "low": f"{given[low]:.2f}"}
        told |= {"high_aspect": self.names[high], "high": f"{given[high]:.2f}"}
        self.sides = (low,)
        return str(self.say["say" if low != high else "one"].format(**told))

    def why(self) -> str:
        of = self._of()
        s = self._score(of)
        if s is None:
            return self._unscored(of)
        told = {"aspect": self.names[of], "score": f"{s.score:.2f}"}
        given = {a: x.score for a in SIDES if (x := self._score(a)) is not None}
        lead = ""
        if of == "overall" and given:
            side = min(given, key=lambda a: given[a])
            lead = self.say["side"].format(score=told["score"], side=self.names[side], low=f"{given[side]:.2f}")
            lead += self.words["sentences"]
            told, of = {"aspect": _capital(self.names[side]), "score": f"{given[side]:.2f}"}, side
        self.sides, self.kinds = (of,), ()
        found, facts = self._found()[:2], self._telling(of)
        if found:
            self._spoke(found)
            faults = self._list([self._fault(f, self.explain["because"]) for f in found])
            return str(lead + self.say["say"].format(faults=faults, **told))
        if facts:
            listed = self._list([told_fact(m, self.explain) for m in facts])
            return str(lead + self.say["plain"].format(facts=listed, **told))
        return str(lead + self.say["clean"].format(**told))

    def compare(self) -> str:
        of = self._of()
        scored = [(w, s) for w in self.rating.windows if (s := w.scores.get(of)) is not None]
        if not scored:
            return self._unscored(of)
        (first, a), (last, b) = scored[0], scored[-1]
        told: dict[str, Any] = {"aspect": self.names[of], "a": f"{first.start:g}", "b": f"{first.end:g}"}
        told |= {"first": f"{a.score:.2f}", "c": f"{last.start:g}", "d": f"{last.end:g}", "last": f"{b.score:.2f}"}
        if len(scored) == 1:
            return str(self.say["one"].format(**told))
        change = b.score - a.score
        verdict = "same" if abs(change) < SAME else "better" if change > 0 else "worse"
        return str(self.say["say"].format(verdict=self.say["verdict"][verdict], **told))

    def sure(self) -> str:
        found = self._found()[:1] if self.kinds and not self.q.sides else []
        if found and found[0].probability is not None:
            text = filled(found[0], self.rating, self.explain)["fault"]
            return str(self.say["fault"].format(fault=text, percent=f"{100 * found[0].probability:.0f}"))
        of = self._of()
        s = self._score(of)
        if s is None:
            return self._unscored(of)
        told = {"aspect": self.names[of], "score": f"{s.score:.2f}"}
        i = s.interval
        if i is None:
            return str(self.say["spread"].format(std=f"{s.std:.2f}", **told))
        told |= {"low": f"{i.low:.2f}", "high": f"{i.high:.2f}", "coverage": f"{100 * i.coverage:g}"}
        return str(self.say["say"].format(**told))

    def sync(self) -> str:
        s = self._score("sync")
        if s is None:
            return self._unscored("sync")
        self.sides = ("sync",)
        told = {"score": f"{s.score:.2f}", "level": self.levels[s.level]}
        facts = []
        for name, key in (("av_content_offset", "offset"), ("av_start_offset", "file")):
            m = self._fact(name)
            if m is not None and m.value is not None:
                way = self.say["way"]["late" if m.value > 0 else "early"]
                exact = key == "file" and round(m.value) == 0
                facts.append(self.say["zero"] if exact else self.say[key].format(ms=f"{abs(m.value):.0f}", way=way))
        return str(self.say["say" if facts else "plain"].format(facts=self.words["joint"].join(facts), **told))

    # ---- faults -----------------------------------------------------------------------------------------------------

    def worst(self) -> str:
        found = self._found()[:1]
        if not found:
            return self._nothing()
        self._spoke(found)
        return self._fault(found[0], self.say["say"])

    def _nothing(self) -> str:
        """No fault was found; what was measured to be worst, where something was."""
        told = [self.words["topics"]["faults"]["none"].format(where=self._where())]
        sides = SIDES if self._any_side() else self.sides
        facts = [m for s in sides for m in self._telling(s)]
        facts.sort(key=lambda m: -SEVERITIES.index(m.severity))
        if facts:
            worst = facts[0]
            self.sides = (worst.modality,)
            told.append(self.words["measured"].format(fact=told_fact(worst, self.explain), severity=self._grade(worst)))
        return self._sentences(told)

    def _grade(self, m: Measurement) -> str:
        return str(self.severities[m.severity])

    def faults(self) -> str:
        found = self._found()
        if not found:
            return self._nothing()
        self._spoke(found)
        listed = self.words["semicolon"].join(self._fault(f, self.say["item"]) for f in found)
        return str(self.say["say"].format(faults=listed))

    def presence(self) -> str:
        say = self.words["topics"]["presence"]
        found = self._found()
        if found:
            self._spoke(found)
            item = self.words["topics"]["faults"]["item"]
            return str(say["found"].format(faults=self.words["semicolon"].join(self._fault(f, item) for f in found)))
        seen = [s for s in self._seen() if s[0].value is not None]
        there = [m for m, bad in seen if bad >= THERE]
        if there:
            told = [f"{told_fact(m, self.explain)} ({self._grade(m)})" for m in there[:2]]
            return str(say["measured"].format(facts=self._list(told)))
        if seen:
            return str(say["clear"].format(measured=measured_text([seen[0][0]], self.explain)))
        return str(say["unseen"].format(kind=self._spelt()))

    def _spelt(self) -> str:
        return self.q.spelling or fault_kinds()[self.kinds[0]].name(self.language)

    def _seen(self) -> list[tuple[Measurement, int]]:
        """The facts that see any of the kinds asked about, each once, the worst first."""
        found: dict[str, tuple[Measurement, int]] = {}
        for kind in (fault_kinds()[k] for k in self.kinds):
            own = [n.rstrip("+-") for n in (kind.measures or kind.instead)]
            for m, bad in seen_by(kind, self.rating.evidence):
                if m.name in own and bad >= found.get(m.name, (m, -1))[1]:
                    found[m.name] = (m, bad)
        return sorted(found.values(), key=lambda s: -s[1])

    def when(self) -> str:
        found, told = self._found()[:2], list[str]()
        told += [self._fault(f, self.say["say"]) for f in found]
        if not found and not self.q.sides:
            told.append(self.words["topics"]["faults"]["none"].format(where=""))
        of = self._of()
        scored = [(w, s.score) for w in self.rating.windows if (s := w.scores.get(of)) is not None]
        if len(scored) > 1 and not self.kinds:
            w, low = min(scored, key=lambda x: x[1])
            told.append(
                self.say["lowest"].format(
                    aspect=self.names[of], start=f"{w.start:g}", end=f"{w.end:g}", score=f"{low:.2f}"
                )
            )
        if found:
            self._spoke(found)
        return self._sentences(told) if told else self._nothing()

    def fix(self) -> str:
        found = [f for f in self._found() if f.remedy]
        if not found:
            return str(self.say["none"].format(where=self._where()))
        self._spoke(found[:2])
        return self._sentences([self._remedy(f, self.say["say"], "") for f in found[:2]])

    def _remedy(self, f: Finding, template: str, gain: str) -> str:
        kind = fault_kinds()[f.kind]
        return template.format(kind=kind.name(self.language), remedy=kind.remedy.of(self.language), gain=gain)

    def helps(self) -> str:
        found = [f for f in self._found() if f.remedy][:1]
        if not found:
            none: str = self.words["topics"]["fix"]["none"]
            return none.format(where="")
        self._spoke(found)
        gain = f"{found[0].gain:.2f}" if found[0].gain >= 0.05 else ""
        told = self.say["gain"].format(gain=gain, side=self.names[found[0].side]) if gain else ""
        return self._remedy(found[0], self.say["say"], told)

    # ---- facts and file ---------------------------------------------------------------------------------------------

    def _fact(self, name: str) -> Measurement | None:
        return next((m for m in self.rating.evidence if m.name == name), None)

    def fact(self) -> str | None:
        if not self.q.facts:
            return None
        name = self.q.facts[0]
        say, m = self.words["topics"]["fact"], self._fact(name)
        told = {"fact": told_name(name, self.language)}
        if m is None or m.value is None:
            why = self._told(m.note) if m is not None else self._why_missing(name)
            return str(say["none"].format(why=self.words["why"].format(why=why) if why else "", **told))
        told["value"] = told_value(m, self.language)
        if self.q.number is not None:
            over = m.value > self.q.number
            relation = self.words["topics"]["limit"]["relation"]["above" if over else "below"]
            yes = self._yes(over is not self._below())
            return str(say["compare"].format(yes=yes, relation=relation, number=f"{self.q.number:g}", **told))
        if not _judged(name):
            return str(say["plain"].format(**told))
        return str(say["fine" if m.severity == "none" else "say"].format(severity=self._grade(m), **told))

    def _why_missing(self, fact: str) -> str:
        side = ALL_FACTS[fact].modality if fact in ALL_FACTS else ""
        return self._told(self.rating.missing.get(side, ""))

    def resolution(self) -> str:
        v = self.rating.media.video
        return self.say["say"].format(width=v.width, height=v.height) if v else self._unscored("video")

    def frame_rate(self) -> str:
        v = self.rating.media.video
        if v is None:
            return self._unscored("video")
        if v.fps is None:
            return str(self.say["still"])
        m = self._fact("frame_rate")
        seen = self.say["seen"].format(seen=f"{m.value:.3g}") if m is not None and m.value is not None else ""
        return str(self.say["say"].format(fps=f"{v.fps:.4g}", seen=seen))

    def codec(self) -> str:
        info = self.rating.media
        given = {"video": info.video.codec if info.video else None, "audio": info.audio.codec if info.audio else None}
        asked = [s for s in self.sides if given.get(s)] or [s for s in given if given[s]]
        parts = [self.say["part"].format(side=self.names[s], codec=given[s]) for s in asked]
        return str(self.say["say"].format(list=self._list(parts), container=_container(info)))

    def bitrate(self) -> str:
        info = self.rating.media
        given = {"video": info.video.bitrate if info.video else None, "audio": info.audio.bitrate if info.audio else None}
        if info.duration > 0:
            given["overall"] = round(8 * info.size_bytes / info.duration)
        asked = [s for s in self.sides if given.get(s)] or [s for s in given if given[s]]
        rates = [self.say["part"].format(side=self.names[s], rate=f"{(given[s] or 0) / 1000:.0f}") for s in asked]
        return str(self.say["say"].format(list=self._list(rates)) if rates else self.say["none"])

    def duration(self) -> str:
        seconds = self.rating.media.duration
        return str(self.say["say"].format(seconds=f"{seconds:.4g}") if seconds > 0 else self.say["still"])

    def size(self) -> str:
        return str(self.say["say"].format(size=f"{self.rating.media.size_bytes / 1e6:.3g}"))

    def sampling(self) -> str:
        a = self.rating.media.audio
        return str(self.say["say"].format(channels=a.channels, rate=a.sample_rate)) if a else self._unscored("audio")

    def looked(self) -> str:
        notes: Any = self.rating.inputs.get("windows") or []
        frames = sum(len(n.get("frame_times", ())) for n in notes if isinstance(n, dict))
        spans = [self.say["span"].format(a=f"{w.start:g}", b=f"{w.end:g}") for w in self.rating.windows]
        told = self.say["frames"].format(n=frames) if frames else ""
        duration = f"{self.rating.media.duration:.4g}"
        return str(self.say["say"].format(spans=self.words["joint"].join(spans), duration=duration, frames=told))

    def quotes(self) -> str:
        origins = load_prompts("words", self.language)["origins"]
        items = [i for i in self.rating.context.items if i.text.strip()]
        order = {"asr": 0, "subtitle": 1, "sidecar": 1, "user": 1, "ocr": 2, "metadata": 3}
        items.sort(key=lambda i: order[i.origin])
        told = [
            self.say["quote"].format(origin=origins[i.origin], text=_quotable(i.text))
            for i in items[:MOST_QUOTES]
        ]
        if told:
            return str(self.say["say"].format(quotes=self.words["joint"].join(told)))
        unheard = [s.detail for s in self.rating.context.sources if s.origin == "asr" and s.detail]
        why = self.words["why"].format(why=self._told(unheard[0])) if unheard else ""
        return str(self.say["none"].format(why=why))

    # ---- about itself -----------------------------------------------------------------------------------------------

    def scale(self) -> str:
        return str(self.say["say"])

    def help(self) -> str:
        return str(self.say["say"].format(three=self._three()))

    def identity(self) -> str:
        return str(self.say["say"].format(model=self.rating.fingerprint.get("model", "mllm-avqa")))


def _quotable(text: str) -> str:
    """Text of strangers between quotation marks that it cannot close, on one line."""
    one = " ".join(text.split()).replace("“", "'").replace("”", "'").replace('"', "'")
    return one if len(one) <= QUOTED else one[:QUOTED].rstrip() + "…"


def _container(info: MediaInfo) -> str:
    """Of the names that a container has, the one that the file bears."""
    names = info.container.split(",")
    own = info.path.rpartition(".")[2].lower()
    return own if own in names else names[0]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _content(fact: str) -> bool:
    return fact in ALL_FACTS and ALL_FACTS[fact].content


def _judged(fact: str) -> bool:
    return fact not in ALL_FACTS or ALL_FACTS[fact].above is not None or ALL_FACTS[fact].below is not None
