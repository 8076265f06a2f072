"""Is there a fault, which, how severe, when, which side is worse. Every sentence is in prompts/questions.*."""

from __future__ import annotations

from random import Random

from data_recipes.questions.facts import (
    LETTERS,
    Words,
    absent_kinds,
    kind_name,
    known,
    lettered,
    make,
    score,
    span_words,
    still,
    time_span,
)
from data_recipes.questions.tasks import of_side, sentence, task
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.records import Distortion, Question, Record

SAME = 0.4  # MOS: sides closer than this count as equally good
POSITIVE = 0.62  # on a side with faults, how often the kind asked for is there: balances yes and no over a set


@task("presence", 2.0)
@of_side
def presence(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> Question | None:
    """Yes or no: is this kind there?"""
    positive = bool(faults) and rng.random() < POSITIVE
    others = absent_kinds(aspect, faults)
    if not positive and not others:
        return None
    one = rng.choice(faults) if positive else None
    text = sentence("presence", rng, words, aspect, kind=kind_name(one.kind if one else rng.choice(others), words))
    answer = words["answers"]["yes" if positive else "no"]
    return make(1, "presence", aspect, words, text, answer, time_span=time_span(record, one) if one else None)


@task("fault", 1.0)
def fault(record: Record, rng: Random, words: Words) -> Question | None:
    """Yes or no: is anything wrong?"""
    sides = known(record)
    if not sides:
        return None
    aspect = rng.choice(sides)
    there = any(d.modality == aspect for d in record.distortions)
    text = sentence("fault", rng, words, aspect)
    return make(1, "fault", aspect, words, text, words["answers"]["yes" if there else "no"])


@task("kind", 2.0, styles=("short",))
@of_side
def kind(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> Question | None:
    """Which of up to four faults is it? Answered by its name."""
    return _which(record, aspect, faults, rng, words, letters=False)


@task("kind", 2.0, bench="what", styles=("steps",))
@of_side
def lettered_kind(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> Question | None:
    """The same with lettered options, as question benchmarks ask it: "B. clicks"."""
    return _which(record, aspect, faults, rng, words, letters=True)


def _which(
    record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words, letters: bool
) -> Question | None:
    none = words["answers"]["none"]
    right = kind_name(faults[0].kind, words) if faults else none
    others = [kind_name(k, words) for k in absent_kinds(aspect, faults)]
    names = [right] if not faults or rng.random() < 0.5 else [right, none]
    names += rng.sample(others, min(len(LETTERS) - len(names), len(others)))
    if len(names) < 2:
        return None
    rng.shuffle(names)
    options, joints = lettered(names, words) if letters else names, words["joints"]
    listed = joints["options"].join(options)
    if not letters:
        listed = joints["or"].join([joints["list"].join(names[:-1]), names[-1]])
    text = sentence("kind", rng, words, aspect, options=listed)
    span = time_span(record, faults[0]) if faults else None
    return make(1, "kind", aspect, words, text, options[names.index(right)], options=options, time_span=span)


@task("severity", 1.5, bench="how")
@of_side
def severity(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> Question | None:
    """How severe is this fault?"""
    if not faults:
        return None
    one = rng.choice(faults)
    text = sentence("severity", rng, words, aspect, kind=kind_name(one.kind, words))
    answer = words["severities"][SEVERITIES[one.level]]
    return make(1, "severity", aspect, words, text, answer, time_span=time_span(record, one))


@task("worst", 1.0)
@of_side
def worst(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> Question | None:
    """How severe is the worst fault of a side?"""
    level = max((d.level for d in faults), default=0)
    text = sentence("worst", rng, words, aspect)
    return make(1, "severity", aspect, words, text, words["severities"][SEVERITIES[level]])


@task("when", 1.5)
@of_side
def when(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> Question | None:
    """At what time is it there?"""
    if not faults or still(record):
        return None
    one = rng.choice(faults)
    text = sentence("when", rng, words, aspect, kind=kind_name(one.kind, words))
    return make(1, "when", aspect, words, text, span_words(record, one, words), time_span=time_span(record, one))


@task("worse", 1.0, bench="what")
def worse(record: Record, rng: Random, words: Words) -> Question | None:
    """Is the picture or the sound worse?"""
    if "video" not in record.labels or "audio" not in record.labels:
        return None
    gap = score(record, "video") - score(record, "audio")
    answer = words["answers"]["same"] if abs(gap) < SAME else words["aspects"]["audio" if gap > 0 else "video"]
    return make(1, "worse", "overall", words, sentence("worse", rng, words, "overall"), answer)
