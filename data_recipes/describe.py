"""Short regular descriptions of a clip from its faults and labels. The words come from prompts/questions.*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from data_recipes.doses import dose
from data_recipes.pseudo_mos import quality, weight
from mllm_avqa.errors import ConfigError
from mllm_avqa.evidence.base import SEVERITIES
from mllm_avqa.levels import word
from mllm_avqa.records import Distortion, Record

ORDER = ("video", "audio", "sync", "text")
CLEAN_FROM = 4.0  # MOS: an untouched side below this is not called clean
GRID = 0.5  # seconds: times are said to the half second


def is_plain(record: Record, aspect: str) -> bool:
    """No fault was made here, yet the label is low: the source has faults of its own that nobody wrote down.

    Such a side is neither "clean" nor of a known fault; nothing may be asked that needs either to be true.
    """
    return record.labels[aspect].mean < CLEAN_FROM and not any(d.modality == aspect for d in record.distortions)


def seconds(record: Record) -> float:
    """Length of the clip: from its span, else from its last fault."""
    if record.end is not None:
        return record.end - (record.start or 0.0)
    return max((d.end for d in record.distortions), default=0.0)


def impact(record: Record, fault: Distortion) -> float:
    """Share of quality 0-1 that a fault takes from its aspect; decides which one is the main problem."""
    length = max(seconds(record), fault.end)
    return weight(fault.start, fault.end, length) * (1.0 - quality(dose(fault.kind, fault.level)))


def rounded(fault: Distortion, length: float) -> tuple[float, float] | None:
    """Start and end to the half second, at least one half apart; None when the fault fills the clip."""
    start, end = round(fault.start / GRID) * GRID, round(fault.end / GRID) * GRID
    end = min(end, round(length / GRID) * GRID)
    if start <= 0 and end >= round(length / GRID) * GRID:
        return None
    if end <= start:
        start, end = (start, start + GRID) if start + GRID <= length else (start - GRID, start)
    return start, end


def span_words(record: Record, fault: Distortion, words: Mapping[str, Any]) -> str:
    """ "from 1 to 2.5 s" or "throughout"."""
    span = rounded(fault, seconds(record))
    text: str = words["span"]["whole"]
    return text if span is None else words["span"]["part"].format(start=f"{span[0]:g}", end=f"{span[1]:g}")


def describe(record: Record, rng: Random, words: Mapping[str, Any]) -> str:
    """The whole clip: faults by side, the main problem, a level per aspect and the overall level.

    Stays within `describe.most` words (two characters of Chinese count as one) by leaving out the smallest faults.
    Raises ConfigError for a record without an overall label.
    """
    if "overall" not in record.labels:
        raise ConfigError(f"record {record.id!r} has no overall label: nothing to conclude from")
    faults = sorted(record.distortions, key=lambda d: -impact(record, d))
    state = rng.getstate()
    for kept in range(len(faults), -1, -1):
        rng.setstate(state)  # the same phrasings, whatever is left out
        text = _whole(record, faults[:kept], rng, words)
        if length(text, words["language"]) <= words["describe"]["most"]:
            break
    return text


def describe_aspect(record: Record, aspect: str, rng: Random, words: Mapping[str, Any]) -> str:
    """One side alone: its faults and its level."""
    faults = sorted((d for d in record.distortions if d.modality == aspect), key=lambda d: -impact(record, d))
    d = words["describe"]
    end = rng.choice(d["conclude_aspect"]).format(
        aspect=words["aspects"][aspect], level=word(record.labels[aspect].mean)
    )
    joint: str = words["joints"]["sentences"]
    return joint.join([_side(record, aspect, faults[:3], rng, words), end])


def length(text: str, language: str) -> float:
    """Words of English; half the characters of Chinese."""
    return len(text) / 2 if language == "zh" else len(text.split())


def _whole(record: Record, faults: list[Distortion], rng: Random, words: Mapping[str, Any]) -> str:
    d = words["describe"]
    sentences = []
    for aspect in ORDER:
        if aspect in record.labels:
            mine = [f for f in faults if f.modality == aspect]
            touched = any(f.modality == aspect for f in record.distortions)
            if mine or not touched:  # a side whose faults were left out for length is not called clean
                sentences.append(_side(record, aspect, mine, rng, words))
    if record.distortions:
        main = max(record.distortions, key=lambda f: impact(record, f))
        sentences.append(rng.choice(d["key"]).format(kind=words["names"][main.kind]))
    elif not any(is_plain(record, a) for a in ORDER if a in record.labels):
        sentences.append(rng.choice(d["nokey"]))
    levels = [
        d["level"].format(aspect=words["aspects"][a], level=word(record.labels[a].mean))
        for a in ORDER
        if a in record.labels
    ]
    if levels:
        sentences.append(rng.choice(d["levels"]).format(levels=words["joints"]["list"].join(levels)))
    sentences.append(rng.choice(d["conclusion"]).format(level=word(record.labels["overall"].mean)))
    joint: str = words["joints"]["sentences"]
    return joint.join(sentences)


def _side(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Mapping[str, Any]) -> str:
    d = words["describe"]
    if not faults:
        wording = d["plain"] if is_plain(record, aspect) else d["clean"]
        text: str = rng.choice(wording[aspect]).format(level=word(record.labels[aspect].mean))
        return text
    said = [
        d["fault"].format(
            severity=words["severities"][SEVERITIES[f.level]],
            kind=words["names"][f.kind],
            span=span_words(record, f, words),
        )
        for f in faults
    ]
    joints = words["joints"]
    listed = said[0] if len(said) == 1 else joints["list"].join(said[:-1]) + joints["last"] + said[-1]
    sentence: str = rng.choice(d["faults"][aspect]).format(faults=listed)
    return sentence
