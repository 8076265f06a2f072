"""What a rating answers to a question, in sentences of prompts/chat.<language>.yaml filled from its own data.

Every topic of that file that has a `say` is a method of its name, here or in `particulars`; all else is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mllm_avqa.model.explain import CLEAN, filled, measured_text, telling, told_fact
from mllm_avqa.model.findings import borne_out
from mllm_avqa.model.talk.particulars import Particulars
from mllm_avqa.model.talk.phrases import THERE, Answer, capital
from mllm_avqa.model.talk.reading import Query
from mllm_avqa.model.verdicts import seen_by, speaks
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.names import SIDES
from mllm_avqa.schema.rating import Rating, Remedy

__all__ = ["Answer", "answer"]
SAME = 0.15  # points that beginning and end may differ by and still be about the same


def answer(question: Query, rating: Rating, before: Sequence[Answer] = ()) -> Answer:
    """The answer to a question on a rating, after others."""
    last = next((a for a in reversed(before) if not a.refused), None)
    return Answering(question, rating, last).given()


class Answering(Particulars):
    """Every topic of scores and faults is a method with its name."""

    def given(self) -> Answer:
        if self.topic is None:
            return self.refused()
        ask: Callable[[], str | None] = getattr(self, self.topic)
        text = ask()
        if text is None:
            return self.refused()
        return Answer(capital(text), self.topic, self.kinds, self.sides)

    def refused(self) -> Answer:
        return Answer(self.words["refuse"].format(three=self._three()))

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

    def strengths(self) -> str:
        asked = [s for s in self.sides if s in SIDES] or SIDES
        given = {a: s for a in asked if (s := self._score(a)) is not None}
        if not given:
            return self._unscored(asked[0])
        fine = [a for a, s in given.items() if s.level in CLEAN and all(f.side != a for f in self.rating.findings)]
        if not fine:
            best = max(given, key=lambda a: given[a].score)
            return str(self.say["none"].format(best=self.names[best], score=f"{given[best].score:.2f}"))
        scores = self._list([f"{self._bare(a)} {given[a].score:.2f}" for a in fine])
        told = self.say["say"].format(sides=self.say["joint"].join(self.names[a] for a in fine))
        return self._sentences([told, self.say["scores"].format(list=scores)])

    def usable(self) -> str:
        s = self._score("overall")
        if s is None:
            return self._unscored("overall")
        level, advised = self.levels[s.level], self._advised()[:1]
        told = [self.say["say"].format(score=f"{s.score:.2f}", level=level, interval=self._interval(s))]
        remedies = [fault_kinds()[r.kinds[0]].remedy.of(self.language) for r in advised]
        return self._sentences(told + [self.say["help"].format(remedy=r) for r in remedies])

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
            told, of = {"aspect": capital(self.names[side]), "score": f"{given[side]:.2f}"}, side
        self.sides, self.kinds = (of,), ()
        found, facts = self._found()[:2], telling(self.rating, of)
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
        if self.sides and not self._any_side() and all(self._score(s) is None for s in self.sides):
            return self._unscored(self.sides[0])
        told = [self.words["topics"]["faults"]["none"].format(where=self._where())]
        sides = SIDES if self._any_side() else self.sides
        facts = [m for s in sides for m in telling(self.rating, s)]
        facts.sort(key=lambda m: -SEVERITIES.index(m.severity))
        if facts:
            worst = facts[0]
            self.sides = (worst.modality,)
            told.append(self.words["measured"].format(fact=told_fact(worst, self.explain), severity=self._grade(worst)))
        return self._sentences(told)

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
            item, doubt = self.words["topics"]["faults"]["item"], not any(borne_out(f, self.rating) for f in found)
            told = [self._fault(f, item, doubt) for f in found]
            return str(say["maybe" if doubt else "found"].format(faults=self.words["semicolon"].join(told)))
        seen = [s for s in self._seen() if s[0].value is not None]
        bad = [m for m, severity in seen if severity >= THERE]
        there = [m for m in bad if speaks(m, self.rating.evidence)]
        if there:
            told = [say["graded"].format(fact=told_fact(m, self.explain), severity=self._grade(m)) for m in there[:2]]
            return str(say["measured"].format(facts=self._list(told)))
        if bad:
            return str(say["unsure"].format(measured=measured_text(bad[:2], self.explain)))
        if seen:
            return str(say["clear"].format(measured=measured_text([m for m, _ in seen[:2]], self.explain)))
        sides = dict.fromkeys(fault_kinds()[k].side for k in self.kinds)
        if sides and all(self._score(s) is None for s in sides):
            return self._unscored(next(iter(sides)))
        return str(say["unseen"].format(kind=fault_kinds()[self.kinds[0]].said(self.language)))

    def _seen(self) -> list[tuple[Measurement, int]]:
        """Of each kind asked about, the fact that sees it and most of the others; each once, the worst first."""
        given: list[dict[str, tuple[Measurement, int]]] = []
        for kind in (fault_kinds()[k] for k in self.kinds):
            own = [n.rstrip("+-") for n in (kind.measures or kind.instead or kind.hints)]
            given.append({m.name: (m, bad) for m, bad in seen_by(kind, self.rating.evidence) if m.name in own})
        shared = Counter(name for facts in given for name in facts)
        found: dict[str, tuple[Measurement, int]] = {}
        for facts in given:
            most = max((shared[name] for name in facts), default=0)
            for name, (m, bad) in facts.items():
                if shared[name] == most and bad >= found.get(name, (m, -1))[1]:
                    found[name] = (m, bad)
        return sorted(found.values(), key=lambda s: -s[1])

    def when(self) -> str:
        found, told = self._found()[:2], list[str]()
        told += [self._fault(f, self.say["say"]) for f in found]
        if not found and not self.q.sides:
            told.append(self._nothing())
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
        found = [f for f in self._found() if f.remedy][:2]
        advised = [] if found or self.kinds else self._advised()[:2]
        kinds = [f.kind for f in found] or [r.kinds[0] for r in advised]
        if not kinds:
            return str(self.say["none"].format(where=self._where()))
        self._spoke(found)
        return self._sentences([self._remedy(k, self.say["say"], "") for k in kinds])

    def _advised(self) -> list[Remedy]:
        return [r for r in self.rating.remedies if self._any_side() or r.side in self.sides]

    def _remedy(self, kind: str, template: str, gain: str) -> str:
        entry = fault_kinds()[kind]
        return template.format(kind=entry.said(self.language), remedy=entry.remedy.of(self.language), gain=gain)

    def helps(self) -> str:
        advised = self._advised()[:1]
        if not advised:
            none: str = self.words["topics"]["fix"]["none"]
            return none.format(where="")
        best = advised[0]
        self.kinds, self.sides = tuple(best.kinds), (best.side,)
        gain = self.say["gain"].format(gain=f"{best.side_gain:.2f}", side=self.names[best.side])
        return self._remedy(best.kinds[0], self.say["say"], gain)
