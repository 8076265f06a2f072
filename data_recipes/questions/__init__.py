"""Questions and answers about a `Record`, in three stages and two languages. Pure and fast: made anew every epoch.

Stage 1 asks for facts (is there a fault, which, how severe, when, which side is worse), stage 2 for the level of an
aspect, stage 3 for a description that agrees with the labels, and for the lists of faults it is written from. Every
sentence lives in prompts/.
`Question.aspect` is what the answer may look at: a question about the picture is answerable from the picture alone.

Two styles: "short" is what a model of a few million parameters learns to say, "steps" adds further questions and
describes in five steps.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from data_recipes.distortions import alike
from data_recipes.questions import short, steps
from data_recipes.questions.facts import Language, Words, aspects, kind_name, known, make
from data_recipes.questions.stage2 import level_question, wide_levels
from data_recipes.questions.tasks import STYLES, TASKS, Style
from mllm_avqa.model.prompting import list_branch, load_prompts
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Question, Record

__all__ = ["STYLES", "Language", "Style", "alike", "describe_clip", "kind_name", "lists", "questions"]


def questions(
    record: Record, rng: Random, language: Language, stage: Literal[1, 2, 3], count: int, style: Style = "short"
) -> list[Question]:
    """Up to `count` different questions of one stage; stage 3 has the lists of all sides besides.

    The record needs labels (stages 2 and 3); its distortions are taken as complete unless people voted on the clip
    and none is listed. Equal `rng` states give equal questions. Fewer than `count` come back when the record does not
    give more. Raises ConfigError for a stage, language or style that does not exist, or a distortion kind without a
    name in the prompts.
    """
    words = load_prompts("questions", language)
    if style not in STYLES:
        raise ConfigError(f"style {style!r} does not exist; allowed: {', '.join(STYLES)} (--style)")
    if stage == 2:
        if style == "steps":
            return wide_levels(record, rng, words, count)
        asked = rng.sample(list(record.labels), min(count, len(record.labels)))
        return [level_question(record, a, rng, words) for a in asked]
    if stage == 3:
        return _descriptions(record, rng, words, count, style)
    if stage != 1:
        raise ConfigError(f"stage {stage} does not exist; allowed: 1, 2, 3 (--stages)")
    tasks = TASKS[style]
    made: list[Question] = []
    for _ in range(4 * count):
        task = rng.choices(list(tasks), [w for _, w in tasks.values()])[0]
        question = tasks[task][0](record, rng, words)
        if question is not None and all(q.question != question.question for q in made):
            made.append(question)
        if len(made) == count:
            break
    return made


def describe_clip(record: Record, rng: Random, language: Language, style: Style = "short") -> str:
    """The stage-3 description of the whole clip as plain text (what `Record.description` holds).

    Raises ConfigError for a record without an overall label.
    """
    speak = steps if style == "steps" else short
    return speak.describe(record, rng, load_prompts("questions", language))


def _descriptions(record: Record, rng: Random, words: Words, count: int, style: Style) -> list[Question]:
    """The whole clip first, then single sides."""
    speak = steps if style == "steps" else short
    asks = load_prompts("steps", words["language"])["ask"] if style == "steps" else words["stage3"]
    made = []
    if "overall" in record.labels and count > 0:
        text = rng.choice(asks["describe"])
        made.append(make(3, "describe", "overall", words, text, speak.describe(record, rng, words)))
    sides = aspects(record)
    for aspect in rng.sample(sides, min(len(sides), max(0, count - len(made)))):
        text = rng.choice(asks["describe_aspect"]).format(aspect=words["aspects"][aspect])
        made.append(make(3, "describe", aspect, words, text, speak.describe_aspect(record, aspect, rng, words)))
    return made + (lists(record, words["language"]) if count > 0 else [])


def lists(record: Record, language: Language) -> list[Question]:
    """For each side whose faults are all known, the question for them that a rating asks before it is explained."""
    words = load_prompts("questions", language)
    return [
        make(3, "list", a, words, list_branch(a, language).question, short.listed(record, a, words))
        for a in known(record)
    ]
