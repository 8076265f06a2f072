"""Descriptions in five steps: what is there, its faults with times, the key one, the effect on each aspect, conclusion.

The sentences come from prompts/steps.<lang>.yaml and stay within the grammar that `mllm_avqa.model.claims` reads: one
sentence names one fault with its side, severity and time, and a level word follows the aspect it belongs to.
"""

from __future__ import annotations

from random import Random

from data_recipes.questions.facts import (
    Words,
    aspects,
    faults_of,
    impact,
    is_plain,
    kind_name,
    level,
    region,
    rounded,
    score,
    seconds,
)
from data_recipes.synthesis.pseudo_mos import CLEAN, aspect_mos, fuse, mos_of, quality
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.records import Distortion, Record

MOST = 6  # faults described; smaller ones are left out and their side is not called clean
WELL = 3.5  # from this score on a fault is something the quality holds out against, not the reason for it
MUCH = 0.4  # share of the missing overall quality from which a fault is called its main reason
OWN = 0.5  # MOS by which a side may be below what its faults explain before the source is held responsible too
GAP = 0.3  # MOS by which one side must be below all others to be called the weakest


def describe(record: Record, rng: Random, words: Words) -> str:
    """All five steps. Raises ConfigError for a record without an overall label."""
    if "overall" not in record.labels:
        raise ConfigError(f"record {record.id!r} has no overall label: nothing to conclude from")
    s = load_prompts("steps", words["language"])
    told = faults_of(record)[:MOST]
    order = aspects(record)
    if rng.random() < 0.5:  # worst side first
        order.sort(key=lambda a: score(record, a))
    said = _shown(record, rng, s)
    for aspect in order:
        said += _side(record, aspect, [f for f in told if f.modality == aspect], rng, words, s)
    main = max(told, key=lambda f: loss(record, f)) if told else None
    said += [_key(record, main, rng, words, s), *_effects(record, rng, words, s), _end(record, main, rng, words, s)]
    return _joined(said, words)


def describe_aspect(record: Record, aspect: str, rng: Random, words: Words) -> str:
    """One side alone: its faults, the worst of them, and its level."""
    s = load_prompts("steps", words["language"])
    faults = faults_of(record, aspect)[:MOST]
    said = _side(record, aspect, faults, rng, words, s)
    if len(faults) > 1:
        said.append(rng.choice(s["key"]["bare_fault"]).format(kind=kind_name(faults[0].kind, words)))
    said.append(
        rng.choice(s["conclude_aspect"]).format(
            aspect=words["aspects"][aspect], level=level(record, aspect), score=f"{score(record, aspect):.1f}"
        )
    )
    return _joined(said, words)


def fault_words(fault: Distortion, rng: Random, words: Words) -> str:
    """ "a strong colour cast", "moderate noise in the top left", "low resolution to a slight degree"."""
    s = load_prompts("steps", words["language"])
    text: str = rng.choice(s["phrase"][fault_kinds()[fault.kind].form]).format(
        severity=s["degrees"][SEVERITIES[fault.level]], kind=kind_name(fault.kind, words)
    )
    place = region(fault)
    if place is None:
        return text
    regions = load_prompts("tasks", words["language"])["regions"]
    return str(s["placed"].format(fault=text, region=regions[place]))


def span_phrase(record: Record, fault: Distortion, rng: Random, s: Words) -> str:
    """ "from 1 to 2.5 s", "all the time"."""
    span = rounded(fault, seconds(record))
    if span is None:
        return str(rng.choice(s["span"]["whole"]))
    return str(rng.choice(s["span"]["part"]).format(start=f"{span[0]:g}", end=f"{span[1]:g}"))


def loss(record: Record, fault: Distortion) -> float:
    """MOS that the overall score would gain without this fault, by the rules of `pseudo_mos`."""
    now = {a: score(record, a) for a in aspects(record)}
    if not {"video", "audio"} & set(now) or fault.modality not in now:
        return impact(record, fault)
    kept = max(1e-6, 1.0 - impact(record, fault))
    mended = {**now, fault.modality: min(CLEAN, mos_of(quality(now[fault.modality]) / kept))}
    return _fused(mended) - _fused(now)


def explains(record: Record, fault: Distortion) -> bool:
    """Whether the fault accounts for much of what is wrong: not when the source was poor to begin with."""
    sides = aspects(record)
    if not {"video", "audio"} & set(sides):
        return False
    missing = _fused(dict.fromkeys(sides, CLEAN)) - _fused({a: score(record, a) for a in sides})
    return loss(record, fault) >= MUCH * missing


def _fused(scores: dict[str, float]) -> float:
    return fuse(scores.get("video"), scores.get("audio"), scores.get("sync"), scores.get("text"))


def _shown(record: Record, rng: Random, s: Words) -> list[str]:
    there = [a for a in ("video", "audio") if a in record.labels]
    shown = s["shown"]["both" if len(there) == 2 else there[0] if there else "whole"]
    length = seconds(record)
    said = [rng.choice(shown["timed" if length else "untimed"]).format(seconds=f"{round(length, 1):g}")]
    if "text" in record.labels:
        said.append(rng.choice(s["shown"]["text"]))
    return said


def _side(record: Record, aspect: str, faults: list[Distortion], rng: Random, words: Words, s: Words) -> list[str]:
    """Step 2 for one side: a sentence per fault, or that it is clean, or nothing."""
    name = words["aspects"][aspect]
    if not faults:
        if any(d.modality == aspect for d in record.distortions):
            return []
        wording = s["plain"] if is_plain(record, aspect) else s["clean"]
        return [rng.choice(wording[aspect]).format(aspect=name, level=level(record, aspect))]
    said = []
    for n, fault in enumerate(faults):
        # "the captions have missing captions": where the name says the side, the sentence does not say it again
        if s["stems"][aspect] in kind_name(fault.kind, words):
            templates = s["bare"]
        else:
            templates = s["first" if n == 0 else "further"][aspect]
        span = span_phrase(record, fault, rng, s)
        text = rng.choice(templates).format(
            fault=fault_words(fault, rng, words), span=span, Span=span[0].upper() + span[1:]
        )
        said.append(text)
    return said


def _key(record: Record, main: Distortion | None, rng: Random, words: Words, s: Words) -> str:
    """Step 3."""
    k = s["key"]
    if main is not None:
        kind = kind_name(main.kind, words)
        enough = explains(record, main)
        all_known = not any(is_plain(record, a) for a in aspects(record))
        if len(record.distortions) == 1 and enough and all_known and rng.random() < 0.5:
            return str(rng.choice(k["only"]).format(kind=kind))
        bare = main.modality == "sync" or s["stems"][main.modality] in kind
        case = ("bare" if bare else "main") if enough else ("bare_fault" if bare else "fault")
        case = "single" if not enough and len(record.distortions) == 1 else case
        return str(rng.choice(k[case]).format(kind=kind, aspect=words["aspects"][main.modality]))
    ranked = sorted(aspects(record), key=lambda a: score(record, a))
    if not any(is_plain(record, a) for a in ranked) and ranked:
        return str(rng.choice(k["none"]))
    if len(ranked) > 1 and score(record, ranked[1]) - score(record, ranked[0]) >= GAP:
        return str(rng.choice(k["weakest"]).format(aspect=words["aspects"][ranked[0]]))
    return str(rng.choice(k["source" if score(record, "overall") < WELL else "little"]))


def _effects(record: Record, rng: Random, words: Words, s: Words) -> list[str]:
    """Step 4: the level of every aspect, with its reason or as one list."""
    e, sides = s["effect"], aspects(record)
    if not sides:
        return []
    if len(sides) > 1 and rng.random() < 0.4:
        items = [
            e["item"].format(aspect=words["aspects"][a], level=level(record, a), **words["verbs"][a]) for a in sides
        ]
        joints = s["joints"]
        listed = joints["list"].join(items[:-1]) + joints["last"] + items[-1]
        return [rng.choice(e["list"]).format(levels=listed)]
    said = []
    for a in sides:
        faults = faults_of(record, a)
        if faults:
            explained = aspect_mos(faults, max(seconds(record), *(f.end for f in faults)))
            case = "despite" if score(record, a) >= WELL else "because"
            if case == "because" and explained - score(record, a) > OWN:
                case = "partly"
        else:
            case = "plain" if is_plain(record, a) else "clean"
        text = rng.choice(e[case]).format(
            aspect=words["aspects"][a],
            level=level(record, a),
            kind=kind_name(faults[0].kind, words) if faults else "",
            **words["verbs"][a],
        )
        said.append(text[0].upper() + text[1:])
    return said


def _end(record: Record, main: Distortion | None, rng: Random, words: Words, s: Words) -> str:
    """Step 5: agrees with the overall label."""
    mean = score(record, "overall")
    case = "plain"
    if main is not None and (mean >= WELL or explains(record, main)):
        case = "despite" if mean >= WELL else "because"
    kind = kind_name(main.kind, words) if main else ""
    return str(rng.choice(s["conclude"][case]).format(level=level(record, "overall"), score=f"{mean:.1f}", kind=kind))


def _joined(sentences: list[str], words: Words) -> str:
    joint: str = words["joints"]["sentences"]
    return joint.join(sentences)
