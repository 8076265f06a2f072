"""What a record says about its faults and scores, in the form that questions and descriptions need."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from data_recipes.distortions import REGISTRY, alike, kinds
from data_recipes.synthesis.doses import dose
from data_recipes.synthesis.pseudo_mos import fault_weight, quality
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.records import Distortion, Label, Question, Record

Language = Literal["en", "zh"]
Words = Mapping[str, Any]

LETTERS = "ABCD"
ORDER = ("video", "audio", "sync", "text")
CLEAN_FROM = 4.0  # MOS: an untouched side below this is not called clean
GRID = 0.5  # seconds: times are said to the half second


@cache
def all_kinds(modality: str) -> tuple[str, ...]:
    """Names of the kinds that recipes can make of a modality."""
    return tuple(k.kind for k in kinds(modality))


@cache
def whole_clip(kind: str) -> bool:
    """Whether the kind fills every clip it is in, so that asking for its time tests nothing."""
    return kind in REGISTRY and REGISTRY[kind].whole_clip


def kind_name(kind: str, words: Words) -> str:
    """What people call a kind. Raises ConfigError when the prompts do not name it."""
    try:
        name: str = words["names"][kind]
        return name
    except KeyError:
        raise ConfigError(f"prompts/faults.*.yaml: no entry for kind {kind!r}") from None


def score(record: Record, aspect: str) -> float:
    """The label of an aspect on 1-5, higher is better, whatever scale its study used."""
    return record.labels[aspect].score


def level(record: Record, aspect: str) -> str:
    """The level word of an aspect's label."""
    return word(score(record, aspect))


def soft(label: Label) -> list[float]:
    """`Label.levels` as it is written into records: four digits."""
    return [round(p, 4) for p in label.levels().tolist()]


def aspects(record: Record) -> list[str]:
    """Labelled aspects other than "overall"."""
    return [a for a in ORDER if a in record.labels]


def is_plain(record: Record, aspect: str) -> bool:
    """No fault is written down here, yet that does not make the side clean.

    Either its label is low: the source has faults of its own. Or people voted on it and nobody listed faults at all.
    Such a side is neither "clean" nor of a known fault; nothing may be asked that needs either to be true.
    """
    if any(d.modality == aspect for d in record.distortions):
        return False
    unlisted = not record.distortions and not record.labels[aspect].pseudo
    return unlisted or score(record, aspect) < CLEAN_FROM


def known(record: Record) -> list[str]:
    """Aspects whose faults are all known."""
    return [a for a in aspects(record) if not is_plain(record, a)]


def faults_of(record: Record, aspect: str | None = None) -> list[Distortion]:
    """Faults of an aspect, or of all of them, worst first."""
    mine = [d for d in record.distortions if aspect in (None, d.modality)]
    return sorted(mine, key=lambda d: -impact(record, d))


def absent_kinds(aspect: str, faults: list[Distortion]) -> list[str]:
    """Kinds of the aspect that can not be mistaken for one of its faults."""
    near = {k for d in faults for k in alike(d.kind)}
    return [k for k in all_kinds(aspect) if k not in near]


def seconds(record: Record) -> float:
    """Length of the clip: from its span, else from its last fault; 0 when neither is known."""
    if record.end is not None:
        return record.end - (record.start or 0.0)
    return max((d.end for d in record.distortions), default=0.0)


def still(record: Record) -> bool:
    """Whether the clip is a picture, which has no times."""
    kind = mimetypes.guess_type(record.media)[0] or ""
    return kind.startswith("image/") and kind != "image/gif"


def impact(record: Record, fault: Distortion) -> float:
    """Share of quality 0-1 that a fault takes from its aspect; decides which one is the main problem."""
    length = max(seconds(record), fault.end)
    return fault_weight(fault, length) * (1.0 - quality(dose(fault.kind, fault.level)))


def rounded(fault: Distortion, length: float) -> tuple[float, float] | None:
    """Start and end to the half second, at least one half apart; None when the fault fills the clip."""
    start, end = round(fault.start / GRID) * GRID, round(fault.end / GRID) * GRID
    end = min(end, round(length / GRID) * GRID)
    if start <= 0 and end >= round(length / GRID) * GRID:
        return None
    if end <= start:
        start, end = (start, start + GRID) if start + GRID <= length else (start - GRID, start)
    return start, end


def span_words(record: Record, fault: Distortion, words: Words) -> str:
    """ "from 1 to 2.5 s" or "throughout"."""
    span = rounded(fault, seconds(record))
    text: str = words["span"]["whole"]
    return text if span is None else words["span"]["part"].format(start=f"{span[0]:g}", end=f"{span[1]:g}")


def time_span(record: Record, fault: Distortion) -> tuple[float, float] | None:
    """Seconds of the clip that a fault fills, None for all of it."""
    return None if rounded(fault, seconds(record)) is None else (fault.start, fault.end)


def region(fault: Distortion) -> str | None:
    """Ninth of the picture ("top_left" .. "bottom_right") that a fault is limited to; None when it is all over.

    The parameters region_x, _y, _w, _h are shares of the picture, from its left top corner. A rectangle wider or
    higher than half of the picture is in no ninth.
    """
    values = [fault.parameters.get(f"region_{side}") for side in "xywh"]
    x, y, w, h = (v if isinstance(v, float) else 1.0 for v in values)
    if max(w, h) > 0.5:
        return None
    column = ("left", "centre", "right")[min(2, int(3 * (x + w / 2)))]
    row = ("top", "middle", "bottom")[min(2, int(3 * (y + h / 2)))]
    return f"{row}_{column}"


def make(
    stage: Literal[1, 2, 3], task: str, aspect: str, words: Words, text: str, answer: str, **more: Any
) -> Question:
    """A question in the language of `words`; `more` are optional fields of `Question`."""
    return Question(
        stage=stage, task=task, aspect=aspect, language=words["language"], question=text, answer=answer, **more
    )


def lettered(names: list[str], words: Words) -> list[str]:
    """Answers as options "A. ...", in the order given. At most as many as there are `LETTERS`."""
    return [words["option"].format(letter=letter, name=n) for letter, n in zip(LETTERS, names, strict=False)]
