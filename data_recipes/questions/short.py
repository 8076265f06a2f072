"""Short regular descriptions of a clip from its faults and labels. The words come from prompts/questions.*.yaml."""

from __future__ import annotations

from random import Random

from data_recipes.questions.facts import ORDER, Words, faults_of, impact, is_plain, span_words
from data_recipes.questions.facts import level as level_of
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.records import Distortion, Record

MOST_LISTED = 3  # faults of one side


def describe(record: Record, rng: Random, words: Words) -> str:
    """The whole clip: faults by side, the main problem, a level per aspect and the overall level.

    Stays within `describe.most` words (two characters of Chinese count as one) by leaving out the smallest faults.
    Raises ConfigError for a record without an overall label.
    """
    if "overall" not in record.labels:
        raise ConfigError(f"record {record.id!r} has no overall label: nothing to conclude from")
    faults = faults_of(record)
    state = rng.getstate()
    for kept in range(len(faults), -1, -1):
        rng.setstate(state)  # the same phrasings, whatever is left out
        text = _whole(record, faults[:kept], rng, words)
        if length(text, words["language"]) <= words["describe"]["most"]:
            break
    return text


def describe_aspect(record: Record, aspect: str, rng: Random, words: Words) -> str:
    """One side alone: its faults and its level."""
    d = words["describe"]
    end = rng.choice(d["conclude_aspect"]).format(aspect=words["aspects"][aspect], level=level_of(record, aspect))
    joint: str = words["joints"]["sentences"]
    return joint.join([_side(record, aspect, faults_of(record, aspect)[:MOST_LISTED], rng, words), end])


def listed(record: Record, aspect: str, words: Words) -> str:
    """The faults of one side, worst first: "severe hum throughout, slight clipping from 0 to 1 s", or "no fault"."""
    return _listed(record, faults_of(record, aspect)[:MOST_LISTED], words) or str(words["answers"]["none"])


def length(text: str, language: str) -> float:
    """Words of English; half the characters of Chinese."""
    return len(text) / 2 if language == "zh" else len(text.split())


def _whole(record: Record, faults: list[Distortion], rng: Random, words: Words) -> str:
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
        d["level"].format(aspect=words["aspects"][a], level=level_of(record, a)) for a in ORDER if a in record.labels
    ]
    if levels:
        sentences.append(rng.choice(d["levels"]).format(levels=words["joints"]["list"].join(levels)))
    sentences.append(rng.choice(d["conclusion"]).format(level=level_of(record, "overall")))
    joint: str = words["joints"]["sentences"]
    return joint.join(sentences)


def _side(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words) -> str:
    d = words["describe"]
    if not faults:
        wording = d["plain"] if is_plain(record, aspect) else d["clean"]
        text: str = rng.choice(wording[aspect]).format(level=level_of(record, aspect))
        return text
    sentence: str = rng.choice(d["faults"][aspect]).format(faults=_listed(record, faults, words))
    return sentence


def _listed(record: Record, faults: list[Distortion], words: Words) -> str:
    said = [
        words["describe"]["fault"].format(
            severity=words["severities"][SEVERITIES[f.level]],
            kind=words["names"][f.kind],
            span=span_words(record, f, words),
        )
        for f in faults
    ]
    *others, last = said or [""]
    joints = words["joints"]
    return joints["list"].join(others) + joints["last"] + last if others else last
