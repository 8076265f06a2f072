"""Stage 2: the level of an aspect, its score as a number, both beside text that tries to move them, comparisons.

A comparison asks which of two clips is better and why; it is a question of the first clip, and `Question.other` is the
id of the second. Both come from one split and one dataset: scores of different studies can not be ranked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from data_recipes.questions.facts import Language, Words, faults_of, level, make, score, soft
from data_recipes.questions.steps import fault_words, span_phrase
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.levels import VALUES, WORDS
from mllm_avqa.schema.records import Distortion, Question, Record

FAR = 2.0  # an attack demands a level at least this far from the label, so that following it is a clear mistake
ATTACKS = 0.7  # share of attacks among the texts shown with a question; the others are harmless
BETTER = 0.6  # MOS: a difference people agree on
EQUAL = 0.15  # MOS: a difference nobody sees
TRIES = 60  # random second clips looked at for one first clip
OUTCOMES = ("first", "second", "first", "second", "same")
FORMS = {"level": 5.0, "number": 3.0, "context": 2.0}


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
        form, aspect = rng.choices(pool, [FORMS[f] for f, _ in pool])[0]
        pool.remove((form, aspect))
        made.append(makers[form](record, aspect, rng, words))
    return made


def pairs(
    records: Sequence[Record], rng: Random, language: Language, count: int
) -> Iterator[tuple[Record, Record, Question]]:
    """Up to `count` comparisons (first clip, second clip, question): half of the same content, answers balanced.

    Every second question asks for the reason. Differences between EQUAL and BETTER are never asked about. Fewer come
    when the records do not give more; the half without enough clips of the same content is filled with others.
    """
    words = load_prompts("questions", language)
    usable = [r for r in records if r.labels]
    shelves: dict[tuple[object, ...], list[Record]] = {}
    for r in usable:
        shelves.setdefault((r.dataset, r.split), []).append(r)
        shelves.setdefault((r.dataset, r.split, r.group), []).append(r)
    seen: set[tuple[str, str, str]] = set()
    for n in range(count):
        outcome = OUTCOMES[n % len(OUTCOMES)]
        for same_content in (n % 2 == 0, n % 2 == 1):
            found = _pair(usable, shelves, same_content, outcome, rng, seen)
            if found is not None:
                first, second, aspect = found
                seen.add((first.id, second.id, aspect))
                yield first, second, compare(first, second, aspect, rng, words, why=rng.random() < 0.5)
                break


def compare(first: Record, second: Record, aspect: str, rng: Random, words: Words, why: bool) -> Question:
    """The question which of two clips is better in an aspect that both have a label for; `why` asks for the reason.

    Without reason the answer is "the first", "the second" or "about the same", with all of them as options.
    """
    tasks = load_prompts("tasks", words["language"])
    c = tasks["compare"]
    gap = score(first, aspect) - score(second, aspect)
    outcome = "same" if abs(gap) < EQUAL else "first" if gap > 0 else "second"
    text = rng.choice(c["ask_why" if why else "ask"]).format(what=tasks["what"][aspect])
    if not why:
        options = [c["first"], c["second"], c["same"]]
        return make(2, "compare", aspect, words, text, c[outcome], options=options, other=second.id)
    answer = _reason(first, second, aspect, outcome, rng, words, c)
    return make(2, "compare_why", aspect, words, text, answer, other=second.id)


def _reason(first: Record, second: Record, aspect: str, outcome: str, rng: Random, words: Words, c: Words) -> str:
    if outcome == "same":
        return str(rng.choice(c["equal"]).format(**_numbers(first, second, aspect)))
    better, worse = (first, second) if outcome == "first" else (second, first)
    who = {"better": c["names"][outcome], "other": c["names"]["second" if outcome == "first" else "first"]}
    fault = _against(worse, better, aspect)
    if fault is not None:
        steps = load_prompts("steps", words["language"])
        said = {"fault": fault_words(fault, rng, words), "span": span_phrase(worse, fault, rng, steps)}
        return str(rng.choice(c["fault"]).format(**who, **said))
    high, low = level(better, aspect), level(worse, aspect)
    if high != low:
        return str(rng.choice(c["level"]).format(**who, high=high, low=low))
    return str(rng.choice(c["score"]).format(**who, **_numbers(better, worse, aspect)))


def _numbers(better: Record, worse: Record, aspect: str) -> dict[str, str]:
    return {"high": f"{score(better, aspect):.1f}", "low": f"{score(worse, aspect):.1f}"}


def _against(worse: Record, better: Record, aspect: str) -> Distortion | None:
    """The worst fault of one clip that the other has not, or not as badly; None when there is none."""
    concerned = None if aspect == "overall" else aspect
    has = {d.kind: d.level for d in better.distortions}
    faults = [d for d in faults_of(worse, concerned) if d.level > has.get(d.kind, 0)]
    return faults[0] if faults else None


def _pair(
    usable: Sequence[Record],
    shelves: dict[tuple[object, ...], list[Record]],
    same_content: bool,
    outcome: str,
    rng: Random,
    seen: set[tuple[str, str, str]],
) -> tuple[Record, Record, str] | None:
    """Two clips and an aspect with this outcome, or None when chance did not find any."""
    for _ in range(TRIES):
        a = rng.choice(usable)
        b = rng.choice(shelves[(a.dataset, a.split, a.group) if same_content else (a.dataset, a.split)])
        if a.id == b.id or (not same_content and set(a.group.split("+")) & set(b.group.split("+"))):
            continue
        shared = [x for x in a.labels if x in b.labels and not ({(a.id, b.id, x), (b.id, a.id, x)} & seen)]
        rng.shuffle(shared)
        for aspect in shared:
            gap = score(a, aspect) - score(b, aspect)
            if outcome == "same" and abs(gap) < EQUAL:
                return a, b, aspect
            if outcome != "same" and abs(gap) >= BETTER:
                return (a, b, aspect) if (gap > 0) == (outcome == "first") else (b, a, aspect)
    return None
