"""What a right answer to a question of prompts/chat_bank.<language>.yaml has to say, from the rating alone.

It is not asked how an answer says it: names and numbers of the rating have to be in it, and a yes or a no first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.model.verdicts import seen_by, speaks
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.names import SIDES
from mllm_avqa.schema.rating import Finding, Rating, Remedy
from mllm_avqa.schema.words import translated

Outcome = Literal["right", "refused rightly", "refused", "wrong"]
TOLERANCE = 0.011  # by which a number in an answer may be off, of its size
ALIKE = 0.05  # points of gain that the costliest findings may differ by
SLIGHT = SEVERITIES.index("slight")
YES = {"en": r"(?:yes|possibly)\b", "zh": "是|有|会|能|对|可能"}
NO = {"en": r"no\b", "zh": "没|不|否|未"}
STILL, UNTOLD = ("still picture", "静止图像"), ("does not tell", "没有给出")
NOTHING = {"en": "no fault", "zh": "没有发现"}


class BankItem(BaseModel):
    """A question and what it asks, as the bank has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ask: str
    want: str
    of: str = "overall"
    kinds: tuple[str, ...] = ()
    limit: float = 0.0
    after: tuple[str, ...] = ()  # questions before it


def bank(language: str, half: str) -> list[BankItem]:
    """The questions of a half. half: seen, unseen, independent, fresh."""
    return [BankItem.model_validate(entry) for entry in load_prompts("chat_bank", language)[half]]


def outcome(item: BankItem, rating: Rating, language: str, text: str, refused: bool) -> Outcome:
    if item.want == "refuse":
        return "refused rightly" if refused else "wrong"
    if refused:
        return "refused"
    wanted: Callable[[], bool] = getattr(RatingTruth(item, rating, language, text), item.want)
    return "right" if wanted() else "wrong"


@dataclass(frozen=True)
class RatingTruth:
    """Whether a text says what the rating knows; a method for everything that is asked."""

    item: BankItem
    rating: Rating
    language: str
    text: str

    # ---- signs

    def _says(self, *words: str) -> bool:
        return any(w.lower() in self.text.lower() for w in words if w)

    def _number(self, value: float | None, scale: float = 1.0) -> bool:
        """Whether the value is among the numbers of the text."""
        if value is None:
            return False
        said = [abs(float(n)) for n in re.findall(r"\d+(?:\.\d+)?", self.text)]
        want = abs(value) / scale
        return any(abs(n - want) <= max(TOLERANCE * want, 0.006) for n in said)

    def _polarity(self, yes: bool) -> bool:
        return bool(re.match((YES if yes else NO)[self.language], self.text.lower()))

    def _missing(self, aspect: str) -> bool:
        return self._says(self._told(self.rating.missing.get(aspect, "")))

    def _told(self, text: str) -> str:
        return text if self.rating.language == self.language else translated(text, self.language)

    def _score(self, aspect: str) -> float | None:
        s = self.rating.scores.get(aspect)
        return s.score if s else None

    def _scored(self, aspect: str) -> bool:
        score = self._score(aspect)
        return self._missing(aspect) if score is None else self._number(score)

    def _costliest(self) -> list[Finding]:
        most = max((f.gain for f in self.rating.findings), default=0.0)
        return [f for f in self.rating.findings if f.gain >= most - ALIKE]

    def _name(self, f: Finding) -> str:
        return fault_kinds()[f.kind].said(self.language)

    def _remedy(self, f: Finding) -> str:
        return fault_kinds()[f.kind].remedy.of(self.language)

    def _nothing(self) -> bool:
        return not self.rating.findings and self._says(NOTHING[self.language])

    def _measured(self, name: str, side: str = "audio") -> bool:
        m = next((m for m in self.rating.evidence if m.name == name), None)
        if m is None:
            return self._missing(side)
        return self._number(m.value) if m.value is not None else self._says(self._told(m.note))

    # ---- what is asked

    def score(self) -> bool:
        return self._scored(self.item.of)

    def limit(self) -> bool:
        score = self._score(self.item.of)
        if score is None:
            return self._missing(self.item.of)
        return self._number(score) and self._polarity(score >= self.item.limit)

    def worst(self) -> bool:
        return self._nothing() or self._says(*map(self._name, self._costliest()))

    def when(self) -> bool:
        whole = {"en": ("throughout",), "zh": ("全程", "始终")}[self.language]
        spans = [f.span for f in self._costliest()]
        return self._nothing() or any(
            self._number(s[0]) and self._number(s[1]) if s else self._says(*whole) for s in spans
        )

    def fix(self) -> bool:
        found = self._costliest()
        return self._nothing() or self._says(*map(self._remedy, found)) or (not found and self._advised(0.0))

    def helps(self) -> bool:
        most = max((r.gain for r in self._fixes()), default=0.0)
        return self._advised(most - ALIKE) if self._fixes() else self._says(NOTHING[self.language])

    def _fixes(self) -> list[Remedy]:
        return [r for r in self.rating.remedies if self.item.of in ("overall", r.side)]

    def _advised(self, least: float) -> bool:
        """Whether it names a remedy that gains this much."""
        kinds = [r.kinds[0] for r in self._fixes() if r.gain >= least]
        return self._says(*(fault_kinds()[k].remedy.of(self.language) for k in kinds))

    def faults(self) -> bool:
        of = self.item.of
        found = [f for f in self.rating.findings if of in ("overall", f.side)]
        if of != "overall" and self._score(of) is None:
            return self._missing(of)
        return all(self._says(self._name(f)) for f in found) if found else self._says(NOTHING[self.language])

    def presence(self) -> bool:
        kinds = self.item.kinds
        if all(self._score(fault_kinds()[k].side) is None for k in kinds):
            return self._missing(fault_kinds()[kinds[0]].side) or self._polarity(False)
        there, filmed = any(f.kind in kinds for f in self.rating.findings), False
        for kind in (fault_kinds()[k] for k in kinds):
            own = {n.rstrip("+-") for n in kind.measures}
            seen = [m for m, bad in seen_by(kind, self.rating.evidence) if m.name in own and bad >= SLIGHT]
            spoken = [m for m in seen if speaks(m, self.rating.evidence)]
            there, filmed = there or bool(spoken), filmed or bool(seen)
        if filmed and not there:  # what was filmed or played can be like that: neither yes nor no
            return not self._polarity(True) and not self._polarity(False)
        return self._polarity(there)

    def why(self) -> bool:
        of = self.item.of
        given = {a: s for a in SIDES if (s := self._score(a)) is not None}
        if of == "overall" and given:  # its reasons are those of the lowest side
            return self._number(self._score(of)) and self._why(min(given, key=lambda a: given[a]))
        return self._why(of)

    def _why(self, of: str) -> bool:
        own = [f for f in self.rating.findings if f.side == of]
        facts = [m for m in self.rating.evidence if m.modality == of and m.severity not in ("none", "faint")]
        grounds = any(self._says(self._name(f)) for f in own) or any(self._number(m.value) for m in facts)
        if not self._scored(of):
            return False
        return self._score(of) is None or grounds or (not own and self._says(NOTHING[self.language]))

    def compare(self) -> bool:
        given = [s.score for w in self.rating.windows if (s := w.scores.get("overall"))]
        return bool(given) and self._number(given[0]) and self._number(given[-1])

    def worst_side(self) -> bool:
        given = {a: s for a in ("video", "audio") if (s := self._score(a)) is not None}
        if len(given) < 2:
            return all(self._number(s) for s in given.values())
        low = min(given, key=lambda a: given[a])
        names = load_prompts("questions", self.language)["aspects"]
        return self.text.lower().find(names[low]) in range(40) and self._number(given[low])

    def sync(self) -> bool:
        return self._scored("sync")

    def sure(self) -> bool:
        s = next((s for a in ("overall", *SIDES) if (s := self.rating.scores.get(a))), None)
        if s is None or s.interval is None:
            return s is not None and self._number(s.std)
        return self._number(s.interval.low) and self._number(s.interval.high)

    def looked(self) -> bool:
        return self._number(self.rating.windows[0].start) and self._number(self.rating.windows[-1].end)

    def loudness(self) -> bool:
        return self._measured("loudness")

    def true_peak(self) -> bool:
        return self._measured("true_peak")

    def exposure(self) -> bool:
        return self._measured("underexposure", "video")

    def sharpness(self) -> bool:
        return self._measured("blur", "video")

    def norm(self) -> bool:
        return self._measured("loudness") or (self._score("audio") is None and self._missing("audio"))

    def usable(self) -> bool:
        return self._scored("overall")

    def strengths(self) -> bool:
        given = [s.score for a in SIDES if (s := self.rating.scores.get(a)) is not None]
        return self._number(max(given)) if given else self._missing("video")

    def scale(self) -> bool:
        return self._number(1) and self._number(5)

    def sampling(self) -> bool:
        a = self.rating.media.audio
        return self._number(a.channels) and self._number(a.sample_rate) if a else self._missing("audio")

    def resolution(self) -> bool:
        v = self.rating.media.video
        return self._number(v.width) and self._number(v.height) if v else self._missing("video")

    def frame_rate(self) -> bool:
        v = self.rating.media.video
        return (self._number(v.fps) if v.fps else self._says(*STILL)) if v else self._missing("video")

    def codec(self) -> bool:
        v = self.rating.media.video or self.rating.media.audio
        return v is not None and self._says(v.codec)

    def bitrate(self) -> bool:
        info = self.rating.media
        rates: list[Any] = [s.bitrate for s in (info.video, info.audio) if s]
        rates.append(8 * info.size_bytes / info.duration if info.duration else None)
        return self._says(*UNTOLD) if not any(rates) else any(self._number(r, 1000.0) for r in rates)

    def duration(self) -> bool:
        seconds = self.rating.media.duration
        return self._number(seconds) if seconds > 0 else self._says(*STILL)

    def streams(self) -> bool:
        """Whether it says that the side is in the file, by its codec; of a track that holds nothing, also that."""
        info, of = self.rating.media, self.item.of
        if of == "text":
            captions = bool(info.subtitle_streams) or any(i.caption for i in self.rating.context.items)
            return self._polarity(captions)
        stream = info.video if of == "video" else info.audio
        judged = self._score(of) is not None or self._missing(of)
        return judged and (self._missing(of) if stream is None else self._says(stream.codec))

    def quotes(self) -> bool:
        told = [i.text.split()[0] for i in self.rating.context.items if i.text.strip()]
        return self._says(*told) if told else self._says({"en": "no text", "zh": "没有找到"}[self.language])
