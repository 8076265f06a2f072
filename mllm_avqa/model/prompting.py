"""Task, language, evidence and context -> what the model is told and asked. Sentences come from prompts/*.yaml.

Text written by strangers travels as `Quoted`: the tokenizer never parses special tokens inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mllm_avqa.evidence.catalogue import FACTS
from mllm_avqa.model.views import Views
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.names import LANGUAGES, SIDES
from mllm_avqa.schema.text import TextContext
from mllm_avqa.schema.words import load_prompts

__all__ = ["LANGUAGES", "load_prompts"]  # what others find here
FactStyle = Literal["values", "grades"]
SEGMENTS = SIDES  # order in the prefix, after the system segment
EVERYTHING = ("system", *SEGMENTS)
# Which segments an answer about an aspect may look at. With isolation on, this is enforced by the attention mask:
# the sound can not move the video score, a title can not move either, and both are true by construction.
SEES: dict[str, tuple[str, ...]] = {
    "video": ("system", "video"),
    "audio": ("system", "audio"),
    "sync": ("system", "video", "audio", "sync"),
    "text": ("system", "video", "text"),
    "overall": EVERYTHING,
}
# What texts that come with a clip say is a segment of its own, which nothing that judges looks at: captions are judged
# by the facts of their timing, layout, legibility and match, and no title can ask for a score.
QUOTES = "words"
ALL = (*EVERYTHING, QUOTES)
CHAT = "chat"  # what people ask may be about the words too
VISIBLE: dict[str, tuple[str, ...]] = {**SEES, CHAT: ALL}
CONTEXT_CHARACTERS = 600  # of quoted text shown to the model
ITEM_CHARACTERS = 160


@dataclass(frozen=True)
class Trusted:
    """Text of this project."""

    text: str


@dataclass(frozen=True)
class Quoted:
    """Text of a stranger."""

    text: str


@dataclass(frozen=True)
class Media:
    """Place of a view: "whole", "fragments" or "sound"."""

    view: str


Part = Trusted | Quoted | Media


@dataclass(frozen=True)
class Segment:
    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Branch:
    """A question on the encoded clip. `stem` opens the answer; scores are read right after it."""

    aspect: str
    question: str
    stem: str = ""
    answer: str = ""  # training only: what follows the stem
    quoted: bool = False  # the question was typed by a user


def number(value: float) -> str:
    """Three significant digits without exponent: what a small model can read."""
    if value == 0 or abs(value) < 5e-4:
        return "0"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.0f}"


def facts(measurements: Iterable[Measurement], language: str = "en", style: FactStyle = "values") -> str:
    """Measurements as one line of text; those that could not be made are left out.

    values: "blur 1.62 px slight; ... none: noise, hum." - worst first, harmless ones only named.
    grades: "blur slight noise3 hum9" - in the catalogue's order, one word or digit each, which a small model reads
    at a glance: the severity, or for a harmless one how near it is to faint (`Fact.digit`).
    """
    prompts = load_prompts("rating", language)
    measured = [m for m in measurements if m.value is not None]
    if style == "grades":
        words = [
            prompts["digit" if g.isdigit() else "grade"].format(name=m.name, grade=g)
            for m in measured
            if (g := grade(m))
        ]
    else:
        found = [m for m in measured if m.severity != "none"]
        fine = [m.name for m in measured if m.severity == "none"]
        found.sort(key=lambda m: -SEVERITIES.index(m.severity))
        words = [
            prompts["fact"]
            .format(
                name=m.name, value=number(m.value or 0.0), unit="" if m.unit == "ratio" else m.unit, severity=m.severity
            )
            .replace("  ", " ")
            for m in found
        ]
        if fine:
            words.append(prompts["nothing"].format(names=", ".join(fine)))
    return " ".join([prompts["facts"], *words]) if words else ""


def grade(m: Measurement) -> str:
    """A measured fact in one token: its severity, or the digit of a harmless one. Empty: nothing to say about it."""
    assert m.value is not None
    if m.severity != "none":
        return m.severity
    fact = FACTS.get(m.name)
    if fact is None:
        return m.severity
    digit = fact.digit(m.value)
    return "" if digit is None else str(digit)


def grade_words(language: str = "en") -> list[str]:
    """Everything that `facts` can say about one measured fact in the style "grades", with the space before it."""
    prompts = load_prompts("rating", language)
    digits, words = [str(d) for d in range(10)], SEVERITIES[1:]
    return [
        f" {prompts[template].format(name=name, grade=g)}"
        for name in FACTS
        for template, grades in (("digit", digits), ("grade", words))
        for g in grades
    ]


def prefix_segments(
    views: Views,
    measurements: list[Measurement],
    context: TextContext | None,
    language: str = "en",
    style: FactStyle = "values",
) -> list[Segment]:
    """The part of the conversation that is encoded once per clip, cut into segments of `ALL`."""
    prompts = load_prompts("rating", language)
    segments = [Segment("system", (Trusted(prompts["system"]),))]
    present = {"video": views.whole is not None, "audio": views.sound is not None}
    media = {"video": (Media("whole"), Media("fragments")), "audio": (Media("sound"),)}
    for name in SEGMENTS:
        parts: list[Part] = [Trusted(prompts["segments"][name])]
        if name in media:
            parts += media[name] if present[name] else (Trusted(prompts["absent"][name]),)
        said = facts([m for m in measurements if m.modality == name], language, style)
        if said:
            parts.append(Trusted(said))
        segments.append(Segment(name, tuple(parts)))
    quotes = _quotes(context, prompts["quote"]) if context is not None else []
    if quotes:
        segments.append(Segment(QUOTES, (Trusted(prompts["segments"][QUOTES]), *quotes)))
    return segments


def facts_segment(
    name: str, measurements: Iterable[Measurement], language: str = "en", style: FactStyle = "values"
) -> Segment:
    """What a segment ends with: its facts alone."""
    said = facts([m for m in measurements if m.modality == name], language, style)
    return Segment(name, (Trusted(said),) if said else ())


def _quotes(context: TextContext, template: str) -> list[Part]:
    """Context items by priority, cut to the budget. The frame around a quote is ours, the quote is not."""
    priority = {"user": 0, "subtitle": 1, "sidecar": 1, "asr": 2, "ocr": 3, "metadata": 4}
    parts: list[Part] = []
    left = CONTEXT_CHARACTERS
    before, after = template.split("{text}")
    for item in sorted(context.items, key=lambda i: priority[i.origin]):
        text = item.text[: min(ITEM_CHARACTERS, left)]
        if not text:
            break
        left -= len(text)
        parts += [Trusted(before.format(origin=item.origin)), Quoted(text), Trusted(after)]
    return parts


def laid_out(form: str, question: str, options: Sequence[str], language: str) -> tuple[str, tuple[str, ...]]:
    """A question with its options as a form of prompts/bench puts them, and what is answered, by place.

    At most as many options as there are letters. A form that shows no options leaves them out.
    """
    words = load_prompts("bench", language)
    how = words["forms"][form]
    shown = [{"letter": x, "text": o} for x, o in zip(words["letters"], options, strict=False)]
    listed = how["join"].join(how["option"].format(**s) for s in shown)
    return how["ask"].format(question=question, options=listed), tuple(how["answer"].format(**s) for s in shown)


def aspect_branch(aspect: str, language: str = "en", level: str = "") -> Branch:
    """The score question of an aspect; `level` fills the answer in training."""
    words = load_prompts("rating", language)["aspects"][aspect]
    return Branch(aspect, words["question"], words["stem"], f" {level}." if level else "")


def list_branch(side: str, language: str = "en") -> Branch:
    """The request to list the faults of a side; the answer sees nothing of the other side."""
    return Branch(side, load_prompts("rating", language)["aspects"][side]["list"])


def explain_branch(
    levels: Mapping[str, str], language: str = "en", answer: str = "", faults: Mapping[str, str] | None = None
) -> Branch:
    """The request for an explanation, conditioned on the scores already given, and on the faults listed by side.

    Sides come in one order, whatever that of the mappings: a model is taught with the same.
    """
    prompts, order, faults = load_prompts("rating", language), (*SEGMENTS, "overall"), faults or {}
    scores = ", ".join(prompts["score"].format(aspect=a, level=levels[a]) for a in order if a in levels)
    listed = "; ".join(prompts["fault"].format(aspect=a, list=faults[a]) for a in order if faults.get(a))
    listed = prompts["faults"].format(faults=listed) if listed else ""
    return Branch("overall", prompts["explain"].format(scores=scores, faults=listed), "", answer)
