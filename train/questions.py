"""What a row shows and asks: parts of the clip's window lost on purpose, questions drawn from its record."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mllm_avqa.model.prompting import Branch, aspect_branch, explain_branch, laid_out, load_prompts
from mllm_avqa.model.views import Views
from mllm_avqa.schema.levels import WORDS, word
from mllm_avqa.schema.records import Question, Record
from mllm_avqa.schema.text import TextContext
from train.cache import CachedWindow
from train.config import InputDropout, QuestionMix, Stage
from train.losses import target

LETTERED = ("compact", "qbench", "letter")  # forms of prompts/bench that put letters before options
LIST = "list"  # task of the questions for all faults of a side (`prompting.list_branch`)


@dataclass
class Sample:
    """One row to be: what the model gets to see and what it is asked."""

    record: Record
    window: CachedWindow
    questions: list[Branch]
    language: str
    only: tuple[str, ...] | None = None  # segments of the prefix; None: all
    taught: bool = False  # level targets are the teacher's


DrawRows = Callable[
    [list[dict[str, Any]], list[str], random.Random], list[Sample]
]  # items, languages -> rows of a batch


class Drawing:
    """The usual `DrawRows`: a row of each item, parts dropped at `dropout`, questions as the mixture says.

    taught: share of the rows whose levels are the teacher's.
    own: mixtures by record id, where datasets have factors of their own.
    """

    def __init__(
        self,
        mixture: QuestionMix,
        dropout: InputDropout,
        taught: float = 0.0,
        own: Mapping[str, QuestionMix] | None = None,
    ) -> None:
        self.mixture, self.dropout, self.taught, self.own = mixture, dropout, taught, own or {}

    def __call__(self, items: list[dict[str, Any]], languages: list[str], rng: random.Random) -> list[Sample]:
        blind = rng.random() < self.dropout.blind
        out = []
        for item in items:
            record, language = item["record"], rng.choice(languages)
            window = thinned(item["window"], self.dropout, rng, blind)
            mixture = self.own.get(record.id, self.mixture)
            if mixture.tasks:
                record = record.model_copy(update={"questions": weighted(record.questions, mixture, language, rng)})
            asked = branches(record, mixture, language, window.missing, rng)
            taught = rng.random() < self.taught
            out.append(Sample(item["record"], window, asked, language, taught=taught))
        return out


def thinned(window: CachedWindow, rates: InputDropout, rng: random.Random, blind: bool = False) -> CachedWindow:
    """Without facts, pixels, sound or context, as chance has it; blind: all pixels and sound, never all facts."""
    views, evidence, context = window.views, window.evidence, window.context
    for modality in ("video", "audio"):
        if blind:
            continue
        if rng.random() < rates.facts:
            evidence = [m for m in evidence if m.modality != modality]
        elif rng.random() < rates.views and any(m.modality == modality for m in evidence):
            v = views
            views = (
                Views(None, None, v.sound, v.seconds_per_pair)
                if modality == "video"
                else Views(v.whole, v.fragments, None, v.seconds_per_pair)
            )
    if rng.random() < rates.context:
        context = TextContext()
    return CachedWindow(Views(None, None, None) if blind else views, evidence, context, window.missing)


def branches(
    record: Record, mixture: QuestionMix, language: str, missing: dict[str, str], rng: random.Random
) -> list[Branch]:
    """The questions of one row: of depth 1, every labelled aspect, descriptions and a list of faults."""
    out: list[Branch] = []
    pool = record.asked(1, language)
    for q in rng.sample(pool, min(whole(mixture.stage1, rng), len(pool))):
        out.append(perceived(q, mixture.lettered, rng))
    if rng.random() < mixture.stage2:
        for aspect in record.labels:
            if aspect not in missing:
                out.append(aspect_branch(aspect, language, level=WORDS[0]))
    explained = explanation(record, language, missing, rng)
    if explained is not None and rng.random() < mixture.stage3:
        out.append(explained)
    for task in ("describe", LIST):
        sides = [q for q in record.asked(3, language, task) if q.aspect != "overall" and q.aspect not in missing]
        if sides and rng.random() < mixture.stage3 / 2:
            q = rng.choice(sides)
            out.append(Branch(q.aspect or "overall", q.question, "", q.answer))
    for q in record.asked(3, language, LIST):
        if q.aspect not in missing and rng.random() < mixture.lists:
            out.append(Branch(q.aspect or "overall", q.question, "", q.answer))
    return out


def perceived(q: Question, lettered: float, rng: random.Random) -> Branch:
    """A question as it stands; in that share of those with options, or of yes and no, as benchmarks put it."""
    words = load_prompts("questions", q.language)
    yes_no = [words["answers"][x] for x in ("yes", "no")]
    options = q.options or (yes_no if q.answer in yes_no else [])
    if options and options[0].startswith(words["option"].format(letter="A", name="")):
        options = []  # the record gave them letters
    aspect, text, answer = q.aspect or "overall", q.question, q.answer
    if options and rng.random() < lettered:
        # Without the options that the question lists itself, if it does.
        places = [text.find(o) for o in options] if q.options else [-1]
        bare = text[: min(places)].strip() if min(places) > 0 else text
        shown = rng.sample(options, len(options))
        text, answers = laid_out(rng.choice(LETTERED), bare, shown, q.language)
        answer = answers[shown.index(answer)]
    return Branch(aspect, text, "", answer)


def explanation(record: Record, language: str, missing: dict[str, str], rng: random.Random) -> Branch | None:
    """A description of the whole clip behind its scores and its lists of faults, as a rating asks for it."""
    told = [q.answer for q in record.asked(3, language, "describe") if q.aspect == "overall"]
    if not told:
        return None
    levels = {a: word(target(lb).mean) for a, lb in record.labels.items() if a not in missing}
    faults = {q.aspect: q.answer for q in record.asked(3, language, LIST) if q.aspect in levels}
    return explain_branch(levels, language, rng.choice(told), faults)


def teaches_lists(stage: Stage, records: list[Record]) -> bool:
    """Whether a model is taught to list the faults of a side before it explains (`Card.lists_faults`)."""
    drawn = stage.mixture.stage3 + stage.mixture.lists > 0
    if (shares := stage.practice) is not None:
        drawn = (drawn and shares.whole > 0) or shares.listed > 0 or shares.overall * shares.described > 0
    return drawn and any(q.task == LIST for r in records for q in r.questions)


def weighted(questions: list[Question], mixture: QuestionMix, language: str, rng: random.Random) -> list[Question]:
    """As many questions of depth 1 as a row can take, drawn by task weight without repetition, and all others.

    Draws of unequal weight without replacement: the largest u^(1/w) (Efraimidis and Spirakis 2006).
    """
    weight = {q.task: mixture.tasks.get(q.task, 1.0) for q in questions}
    own = [q for q in questions if q.language == language and weight[q.task] > 0]
    first = [q for q in own if q.stage == 1]
    first.sort(key=lambda q: -(rng.random() ** (1 / weight[q.task])))
    return first[: int(mixture.stage1) + 1] + [q for q in own if q.stage != 1]


def whole(count: float, rng: random.Random) -> int:
    """A number that is `count` on average."""
    return int(count) + (rng.random() < count % 1)
