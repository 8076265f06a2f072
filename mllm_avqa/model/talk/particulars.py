"""Answers on facts and file: what was measured, what the container says, what was said, what was looked at."""

from __future__ import annotations

from typing import Any

from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.model.explain import told_fact, told_name, told_value
from mllm_avqa.model.talk.phrases import Phrases, capital
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.words import load_prompts

R128, R128_OFF = (-23.0, -1.0), 0.5  # EBU R 128 (2023): LUFS of the programme and dBTP at most, and what it may be off
MOST_QUOTES, QUOTED = 3, 120  # texts of a clip in an answer, and characters of each


class Particulars(Phrases):
    """Every topic of facts and file is a method with its name."""

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

    def norm(self) -> str:
        facts = [m for name in ("loudness", "true_peak") if (m := self._fact(name)) is not None and m.value is not None]
        if len(facts) < 2:
            return self._unscored("audio")
        loudness, peak = (m.value or 0.0 for m in facts)
        yes = abs(loudness - R128[0]) <= R128_OFF and peak <= R128[1]
        return str(
            self.say["say"].format(
                yes=self.say["yes" if yes else "no"], facts=self._list([told_fact(m, self.explain) for m in facts])
            )
        )

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
        given = {
            "video": info.video.bitrate if info.video else None,
            "audio": info.audio.bitrate if info.audio else None,
        }
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

    def streams(self) -> str | None:
        """Whether the file has picture, sound or captions at all; speech is known from a transcript alone."""
        low, info = self.q.text.lower(), self.rating.media
        if any(w in low for w in self.say["music"]):
            return None
        if any(w in low for w in self.say["speech"]):
            spoken = [
                s.status for s in self.rating.context.sources if s.origin == "asr" and s.status in ("ok", "absent")
            ]
            if "ok" not in spoken:
                return str(self.say["unspoken"]) if spoken else None
            self.say = self.words["topics"]["quotes"]
            return self.quotes()
        asked = [s for s in self.sides if s in ("video", "audio", "text")]
        captions = bool(info.subtitle_streams) or any(i.caption for i in self.rating.context.items)
        there = {"video": info.video is not None, "audio": info.audio is not None, "text": captions}
        told = [self._stream(s) if there[s] else self._absent(s) for s in asked or there]
        denied = len(asked) != 1 or any(w in low for w in self.say["denied"])
        lead = "" if denied else self.say["yes" if there[asked[0]] else "no"]
        return str(lead + (self._list(told) if lead else capital(self._list(told))) + self.words["stop"])

    def _stream(self, side: str) -> str:
        info = self.rating.media
        if side == "text":
            return str(self.say["captions"])
        v, a = info.video, info.audio
        if side == "video" and v is not None:
            told = str(self.say["still" if v.still else "video"].format(codec=v.codec, width=v.width, height=v.height))
        else:
            told = str(self.say["audio"].format(codec=a.codec, channels=a.channels, rate=a.sample_rate)) if a else ""
        why = self._told(self.rating.missing.get(side, ""))
        return told + (self.say["but"].format(why=why) if why else "")

    def _absent(self, side: str) -> str:
        if side == "text":
            shown = any(i.origin == "ocr" for i in self.rating.context.items)
            return str(self.say["shown" if shown else "uncaptioned"])
        return self._told(self.rating.missing.get(side, "")) or str(self.say["none"].format(side=self.names[side]))

    def quotes(self) -> str:
        origins = load_prompts("words", self.language)["origins"]
        items = [i for i in self.rating.context.items if i.text.strip()]
        order = {"asr": 0, "subtitle": 1, "sidecar": 1, "user": 1, "ocr": 2, "metadata": 3}
        items.sort(key=lambda i: order[i.origin])
        told = [self.say["quote"].format(origin=origins[i.origin], text=_quotable(i.text)) for i in items[:MOST_QUOTES]]
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


def _judged(fact: str) -> bool:
    return fact not in ALL_FACTS or ALL_FACTS[fact].above is not None or ALL_FACTS[fact].below is not None
