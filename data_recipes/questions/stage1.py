"""Stage 1: is there a fault, which, how severe, when, which side is worse. Every sentence is in prompts/questions.*."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from data_recipes.questions.facts import (
    LETTERS,
    Words,
    absent_kinds,
    faults_of,
    kind_name,
    known,
    lettered,
    make,
    score,
    span_words,
    time_span,
)
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.records import Distortion, Question, Record

Task = Callable[[Record, Random, Words], Question | None]

SAME = 0.4  # MOS: sides closer than this count as equally good
CLEAN_SIDE = 0.25  # how often stage 1 asks about an untouched side although another one has a fault
POSITIVE = 0.62  # on a side with faults, how often the kind asked for is there: balances yes and no over a set


def side(record: Record, rng: Random) -> tuple[str, list[Distortion]] | None:
    """An aspect to ask about, with its faults, worst first."""
    aspects = known(record)
    if not aspects:
        return None
    faulty = [a for a in aspects if any(d.modality == a for d in record.distortions)]
    clean = [a for a in aspects if a not in faulty]
    pool = clean if not faulty or (clean and rng.random() < CLEAN_SIDE) else faulty
    aspect = rng.choice(pool)
    return aspect, faults_of(record, aspect)


def presence(record: Record, rng: Random, words: Words) -> Question | None:
    """Yes or no: is this kind there?"""
    asked = side(record, rng)
    if asked is None:
        return None
    aspect, faults = asked
    positive = bool(faults) and rng.random() < POSITIVE
    others = absent_kinds(aspect, faults)
    if not positive and not others:
        return None
    fault = rng.choice(faults) if positive else None
    kind = fault.kind if fault else rng.choice(others)
    text = rng.choice(words["stage1"]["presence"]).format(
        kind=kind_name(kind, words), aspect=words["aspects"][aspect], **words["verbs"][aspect]
    )
    answer = words["answers"]["yes" if positive else "no"]
    return make(1, "presence", aspect, words, text, answer, time_span=time_span(record, fault) if fault else None)


def fault(record: Record, rng: Random, words: Words) -> Question | None:
    """Yes or no: is anything wrong?"""
    aspects = known(record)
    if not aspects:
        return None
    aspect = rng.choice(aspects)
    there = any(d.modality == aspect for d in record.distortions)
    text = rng.choice(words["stage1"]["fault"]).format(aspect=words["aspects"][aspect], **words["verbs"][aspect])
    return make(1, "fault", aspect, words, text, words["answers"]["yes" if there else "no"])


def kind(record: Record, rng: Random, words: Words) -> Question | None:
    """Which of up to four faults is it? Answered by its name."""
    return _which(record, rng, words, letters=False)


def lettered_kind(record: Record, rng: Random, words: Words) -> Question | None:
    """The same with lettered options, as question benchmarks ask it: "B. clicks"."""
    return _which(record, rng, words, letters=True)


def _which(record: Record, rng: Random, words: Words, letters: bool) -> Question | None:
    asked = side(record, rng)
    if asked is None:
        return None
    aspect, faults = asked
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
    text = rng.choice(words["stage1"]["kind"]).format(
        aspect=words["aspects"][aspect], options=listed, **words["verbs"][aspect]
    )
    span = time_span(record, faults[0]) if faults else None
    return make(1, "kind", aspect, words, text, options[names.index(right)], options=options, time_span=span)


def severity(record: Record, rng: Random, words: Words) -> Question | None:
    """How severe is this fault?"""
    asked = side(record, rng)
    if asked is None or not asked[1]:
        return None
    aspect, faults = asked
    one = rng.choice(faults)
    text = rng.choice(words["stage1"]["severity"]).format(kind=kind_name(one.kind, words))
    answer = words["severities"][SEVERITIES[one.level]]
    return make(1, "severity", aspect, words, text, answer, time_span=time_span(record, one))


def worst(record: Record, rng: Random, words: Words) -> Question | None:
    """How severe is the worst fault of a side?"""
    asked = side(record, rng)
    if asked is None:
        return None
    aspect, faults = asked
    level = max((d.level for d in faults), default=0)
    text = rng.choice(words["stage1"]["worst"]).format(aspect=words["aspects"][aspect], **words["verbs"][aspect])
    return make(1, "severity", aspect, words, text, words["severities"][SEVERITIES[level]])


def when(record: Record, rng: Random, words: Words) -> Question | None:
    """At what time is it there?"""
    asked = side(record, rng)
    if asked is None or not asked[1]:
        return None
    aspect, faults = asked
    one = rng.choice(faults)
    text = rng.choice(words["stage1"]["when"]).format(kind=kind_name(one.kind, words), aspect=words["aspects"][aspect])
    return make(1, "when", aspect, words, text, span_words(record, one, words), time_span=time_span(record, one))


def worse(record: Record, rng: Random, words: Words) -> Question | None:
    """Is the picture or the sound worse?"""
    if "video" not in record.labels or "audio" not in record.labels:
        return None
    gap = score(record, "video") - score(record, "audio")
    answer = words["answers"]["same"] if abs(gap) < SAME else words["aspects"]["audio" if gap > 0 else "video"]
    return make(1, "worse", "overall", words, rng.choice(words["stage1"]["worse"]), answer)


TASKS: dict[str, tuple[Task, float]] = {
    "presence": (presence, 2.0),
    "fault": (fault, 1.0),
    "kind": (kind, 2.0),
    "severity": (severity, 1.5),
    "worst": (worst, 1.0),
    "when": (when, 1.5),
    "worse": (worse, 1.0),
}
