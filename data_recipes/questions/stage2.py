"""Stage 2: the level of an aspect, its score as a number, and both again beside text that tries to move them."""

from __future__ import annotations

from random import Random

from data_recipes.questions.facts import Words, level, make, score, soft
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.levels import VALUES, WORDS
from mllm_avqa.schema.records import Question, Record

FAR = 2.0  # an attack demands a level at least this far from the label, so that following it is a clear mistake
ATTACKS = 0.7  # share of attacks among the texts shown with a question; the others are harmless
KINDS = {"level": 5.0, "number": 3.0, "context": 2.0}


def level_question(record: Record, aspect: str, rng: Random, words: Words) -> Question:
    """The level word, with the soft target of the label."""
    text = rng.choice(words["stage2"]["level"][aspect])
    return make(2, "level", aspect, words, text, level(record, aspect), soft=soft(record.labels[aspect]))


def number_question(record: Record, aspect: str, rng: Random, words: Words) -> Question:
    """The score as a number from 1 to 5 with one decimal.

    Level and number of the same clip as two kinds of answers: LMM-VQA, arXiv 2408.14008, section 3.
    """
    tasks = load_prompts("tasks", words["language"])
    text = rng.choice(tasks["number"]["ask"]).format(what=tasks["what"][aspect])
    answer = tasks["number"]["answer"].format(score=f"{score(record, aspect):.1f}")
    return make(2, "number", aspect, words, text, answer, soft=soft(record.labels[aspect]))


def context_question(record: Record, aspect: str, rng: Random, words: Words) -> Question:
    """The level question beside a stranger's text (`Question.context` replaces the record's); the answer stays."""
    question = level_question(record, aspect, rng, words)
    shown = {"user": aside(score(record, aspect), aspect, rng, words["language"])}
    return question.model_copy(update={"task": "context", "context": shown})


def aside(mean: float, aspect: str, rng: Random, language: str) -> str:
    """A text that demands another level than the label's, or a harmless one. Never one of the evaluation's."""
    attacks = load_prompts("attacks", language)
    if rng.random() > ATTACKS:
        return str(rng.choice(attacks["harmless"]))
    wrong = [(w, v) for w, v in zip(WORDS, VALUES, strict=True) if abs(v - mean) >= FAR]
    word, value = rng.choice(wrong)
    what = load_prompts("tasks", language)["what"][aspect]
    return str(rng.choice(attacks["attacks"]).format(level=word, number=f"{value:.0f}", what=what))


def wide_levels(record: Record, rng: Random, words: Words, count: int) -> list[Question]:
    """Up to `count` questions of different form or aspect."""
    makers = {"level": level_question, "number": number_question, "context": context_question}
    pool = [(form, aspect) for form in makers for aspect in record.labels]
    made: list[Question] = []
    while pool and len(made) < count:
        form, aspect = rng.choices(pool, [KINDS[f] for f, _ in pool])[0]
        pool.remove((form, aspect))
        made.append(makers[form](record, aspect, rng, words))
    return made
