"""Questions and answers about a `Record`, in three stages and two languages. Pure and fast: made anew every epoch.

Stage 1 asks for facts (is there a fault, which, how severe, when, which side is worse), stage 2 for the level of an
aspect, stage 3 for a description that agrees with the labels. Every sentence lives in prompts/questions.<lang>.yaml.
`Question.aspect` is what the answer may look at: a question about the picture is answerable from the picture alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any, Literal

from data_recipes.describe import describe, describe_aspect, impact, is_plain, span_words
from mllm_avqa.errors import ConfigError
from mllm_avqa.evidence.base import SEVERITIES
from mllm_avqa.levels import word
from mllm_avqa.prompting import load_prompts
from mllm_avqa.records import Distortion, Question, Record

Language = Literal["en", "zh"]
LETTERS = "ABCD"
SAME = 0.4  # MOS: sides closer than this count as equally good
CLEAN_SIDE = 0.25  # how often stage 1 asks about an untouched side although another one has a fault
POSITIVE = 0.62  # on a side with faults, how often the kind asked for is there: balances yes and no over a set

# Kinds that look or sound alike: never offered against each other, never asked for when the other is there.
ALIKE = (
    ("h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2", "mosaic", "packet_loss"),
    ("gblur", "defocus", "motion_blur", "downscale", "hevc", "vp9", "av1", "h264", "ghosting"),
    ("gnoise", "chroma_noise", "speckle", "impulse"),
    ("overexp", "high_contrast", "oversharp"),
    ("underexp", "low_contrast"),
    ("low_contrast", "desat"),
    ("oversat", "cast"),
    ("framedrop", "jerky", "freeze"),
    ("flicker", "black_frames", "shake", "jerky"),
    ("interlace", "ghosting"),
    ("white", "pink", "brown", "bgnoise", "bits", "hum"),
    ("clip", "softclip", "loud", "overcomp", "alias", "bits"),
    ("reverb", "echo"),
    ("dropout", "chop", "clicks"),
    ("aac", "mp3", "opus", "amr", "lowpass", "telephone", "alias", "highpass"),
    ("imbalance", "antiphase"),
)


@cache
def alike(kind: str) -> frozenset[str]:
    """The kind and all that can be taken for it."""
    return frozenset({kind, *(k for group in ALIKE if kind in group for k in group)})


@cache
def _all_kinds(modality: str) -> tuple[str, ...]:
    from data_recipes.distortions import kinds

    return tuple(k.kind for k in kinds(modality))


def questions(record: Record, rng: Random, language: Language, stage: Literal[1, 2, 3], count: int) -> list[Question]:
    """Up to `count` different questions of one stage.

    The record needs labels (stages 2 and 3); its distortions are taken as complete. Equal `rng` states give equal
    questions. Fewer than `count` come back when the record does not give more. Raises ConfigError for a stage or
    language that does not exist, or a distortion kind without a name in the prompts.
    """
    words = load_prompts("questions", language)
    if stage == 2:
        return [_level(record, a, rng, words) for a in rng.sample(list(record.labels), min(count, len(record.labels)))]
    if stage == 3:
        return _descriptions(record, rng, words, count)
    if stage != 1:
        raise ConfigError(f"stage {stage} does not exist; allowed: 1, 2, 3 (--stage)")
    made: list[Question] = []
    for _ in range(4 * count):
        task = rng.choices(list(_TASKS), [w for _, w in _TASKS.values()])[0]
        question = _TASKS[task][0](record, rng, words)
        if question is not None and all(q.question != question.question for q in made):
            made.append(question)
        if len(made) == count:
            break
    return made


def describe_clip(record: Record, rng: Random, language: Language) -> str:
    """The stage-3 description of the whole clip as plain text (what `Record.description` holds)."""
    return describe(record, rng, load_prompts("questions", language))


def kind_name(kind: str, words: Mapping[str, Any]) -> str:
    """What people call a kind. Raises ConfigError when the prompts do not name it."""
    try:
        name: str = words["names"][kind]
        return name
    except KeyError:
        raise ConfigError(f"prompts/questions.{words['language']}.yaml: names has no entry for kind {kind!r}") from None


def _make(
    stage: Literal[1, 2, 3], task: str, aspect: str, words: Mapping[str, Any], text: str, answer: str
) -> Question:
    return Question(stage=stage, task=task, aspect=aspect, language=words["language"], question=text, answer=answer)


def _known(record: Record) -> list[str]:
    """Aspects whose faults are all known."""
    return [a for a in _aspects(record) if not is_plain(record, a)]


def _aspects(record: Record) -> list[str]:
    return [a for a in ("video", "audio", "sync", "text") if a in record.labels]


def _side(record: Record, rng: Random) -> tuple[str, list[Distortion]] | None:
    """An aspect to ask about, with its faults, worst first."""
    aspects = _known(record)
    if not aspects:
        return None
    faulty = [a for a in aspects if any(d.modality == a for d in record.distortions)]
    clean = [a for a in aspects if a not in faulty]
    pool = clean if not faulty or (clean and rng.random() < CLEAN_SIDE) else faulty
    aspect = rng.choice(pool)
    faults = [d for d in record.distortions if d.modality == aspect]
    return aspect, sorted(faults, key=lambda d: -impact(record, d))


def _absent(aspect: str, faults: list[Distortion]) -> list[str]:
    """Kinds of the aspect that can not be mistaken for one of its faults."""
    near = {k for d in faults for k in alike(d.kind)}
    return [k for k in _all_kinds(aspect) if k not in near]


def _presence(record: Record, rng: Random, words: Mapping[str, Any]) -> Question | None:
    side = _side(record, rng)
    if side is None:
        return None
    aspect, faults = side
    positive = bool(faults) and rng.random() < POSITIVE
    others = _absent(aspect, faults)
    if not positive and not others:
        return None
    kind = rng.choice(faults).kind if positive else rng.choice(others)
    text = rng.choice(words["stage1"]["presence"]).format(kind=kind_name(kind, words), aspect=words["aspects"][aspect])
    return _make(1, "presence", aspect, words, text, words["answers"]["yes" if positive else "no"])


def _fault(record: Record, rng: Random, words: Mapping[str, Any]) -> Question | None:
    aspects = _known(record)
    if not aspects:
        return None
    aspect = rng.choice(aspects)
    there = any(d.modality == aspect for d in record.distortions)
    text = rng.choice(words["stage1"]["fault"]).format(aspect=words["aspects"][aspect])
    return _make(1, "fault", aspect, words, text, words["answers"]["yes" if there else "no"])


def _kind(record: Record, rng: Random, words: Mapping[str, Any]) -> Question | None:
    side = _side(record, rng)
    if side is None:
        return None
    aspect, faults = side
    none = words["answers"]["none"]
    right = kind_name(faults[0].kind, words) if faults else none
    others = [kind_name(k, words) for k in _absent(aspect, faults)]
    names = [right] if not faults or rng.random() < 0.5 else [right, none]
    names += rng.sample(others, min(len(LETTERS) - len(names), len(others)))
    if len(names) < 2:
        return None
    rng.shuffle(names)
    options = [words["option"].format(letter=letter, name=n) for letter, n in zip(LETTERS, names, strict=False)]
    text = rng.choice(words["stage1"]["kind"]).format(
        aspect=words["aspects"][aspect], options=words["joints"]["options"].join(options)
    )
    question = _make(1, "kind", aspect, words, text, options[names.index(right)])
    return question.model_copy(update={"options": options})


def _severity(record: Record, rng: Random, words: Mapping[str, Any]) -> Question | None:
    side = _side(record, rng)
    if side is None or not side[1]:
        return None
    aspect, faults = side
    fault = rng.choice(faults)
    text = rng.choice(words["stage1"]["severity"]).format(kind=kind_name(fault.kind, words))
    return _make(1, "severity", aspect, words, text, words["severities"][SEVERITIES[fault.level]])


def _worst(record: Record, rng: Random, words: Mapping[str, Any]) -> Question | None:
    side = _side(record, rng)
    if side is None:
        return None
    aspect, faults = side
    level = max((d.level for d in faults), default=0)
    text = rng.choice(words["stage1"]["worst"]).format(aspect=words["aspects"][aspect])
    return _make(1, "severity", aspect, words, text, words["severities"][SEVERITIES[level]])


def _when(record: Record, rng: Random, words: Mapping[str, Any]) -> Question | None:
    side = _side(record, rng)
    if side is None or not side[1]:
        return None
    aspect, faults = side
    fault = rng.choice(faults)
    name = kind_name(fault.kind, words)
    text = rng.choice(words["stage1"]["when"]).format(kind=name, aspect=words["aspects"][aspect])
    return _make(1, "when", aspect, words, text, span_words(record, fault, words))


def _worse(record: Record, rng: Random, words: Mapping[str, Any]) -> Question | None:
    if "video" not in record.labels or "audio" not in record.labels:
        return None
    gap = record.labels["video"].mean - record.labels["audio"].mean
    answer = words["answers"]["same"] if abs(gap) < SAME else words["aspects"]["audio" if gap > 0 else "video"]
    return _make(1, "worse", "overall", words, rng.choice(words["stage1"]["worse"]), answer)


_TASKS: dict[str, tuple[Callable[[Record, Random, Mapping[str, Any]], Question | None], float]] = {
    "presence": (_presence, 2.0),
    "fault": (_fault, 1.0),
    "kind": (_kind, 2.0),
    "severity": (_severity, 1.5),
    "worst": (_worst, 1.0),
    "when": (_when, 1.5),
    "worse": (_worse, 1.0),
}


def _level(record: Record, aspect: str, rng: Random, words: Mapping[str, Any]) -> Question:
    text = rng.choice(words["stage2"]["level"][aspect])
    return _make(2, "level", aspect, words, text, word(record.labels[aspect].mean))


def _descriptions(record: Record, rng: Random, words: Mapping[str, Any], count: int) -> list[Question]:
    """The whole clip first, then single sides."""
    made = []
    if "overall" in record.labels and count > 0:
        text = rng.choice(words["stage3"]["describe"])
        made.append(_make(3, "describe", "overall", words, text, describe(record, rng, words)))
    sides = _aspects(record)
    for aspect in rng.sample(sides, min(len(sides), max(0, count - len(made)))):
        text = rng.choice(words["stage3"]["describe_aspect"]).format(aspect=words["aspects"][aspect])
        made.append(_make(3, "describe", aspect, words, text, describe_aspect(record, aspect, rng, words)))
    return made
