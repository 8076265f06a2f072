"""The explanation of a rating, written by the model under a constraint: it takes the likeliest allowed wording.

What a sentence says comes from scores, findings and measured facts; how it is said is chosen by the model, slot by
slot, by the likelihood of each wording behind the clip, its scores, its findings and the text so far. So level words
are those of the scores, a side names only what was found there, each finding is named once, and nothing can repeat. A
checkpoint may write in its own words instead (`Card.free_text`); its claims are checked in `verdicts` like these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mllm_avqa.evidence.catalogue import ALL_FACTS, fact_name
from mllm_avqa.model.claims import sentences
from mllm_avqa.model.findings import Likelihoods, borne_out, by_side
from mllm_avqa.model.prompting import Branch, explain_branch, list_branch, load_prompts, number
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.model.verdicts import check_claims, direction, seen_by, speaks
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.names import SIDES, Side
from mllm_avqa.schema.rating import Finding, Rating, Remedy, ScoreDistribution
from mllm_avqa.schema.words import translated

__all__ = ["MOST_TOKENS", "check_claims", "sentences", "write", "write_freely"]
MOST_TOKENS = 160  # of an explanation in its own words
MOST_LISTED = 48  # tokens of the list of a side's faults
CLEAN = ("excellent", "good")  # levels of a side that may be called clean
TELLING = SEVERITIES.index("moderate")  # from which a fact speaks against "nothing is wrong"
MOST_TIMES = 3  # stretches of one finding that are told one by one
SEEN = 0.9  # share of a file in its windows from which "throughout" is said of it
FAINT = SEVERITIES.index("faint")
SLIGHT = SEVERITIES.index("slight")  # from which it may explain a score that is not high
APART, HIGH = 0.7, 3.5  # points between picture and sound, and overall ones, from which neither pulls the other down
LOWER = 0.3  # points between the windows of a clip from which the lowest is named
MOST_PROOF = 3
PROOF: Mapping[Side, tuple[str, ...]] = {  # what shows best that a side is in order
    "video": ("resolution", "frame_rate", "blur", "noise"),
    "audio": ("loudness", "true_peak", "snr", "bandwidth"),
    "sync": ("av_content_offset", "av_start_offset"),
    "text": ("caption_speed", "caption_offset", "text_height", "text_contrast"),
}
Words = Mapping[str, Any]


def write(likelihoods: Likelihoods, rating: Rating, language: str) -> str:
    """The explanation of a rating with scores and findings: one wording of each slot, the one the model would take."""
    words = load_prompts("explain", language)
    levels = {a: s.level for a, s in rating.scores.items() if s is not None}
    question = explain_branch(levels, language, faults=_lists(rating.findings, language))
    said: list[str] = []
    for options in slots(rating, words):
        told = [" ".join(o.split()).replace(" .", ".") for o in options]  # a still has no times
        said.append(_likeliest(likelihoods, question, said, told, words["joints"]["sentences"]))
    return str(words["joints"]["sentences"].join(said))


def _likeliest(
    likelihoods: Likelihoods, question: Branch, said: Sequence[str], options: Sequence[str], joint: str
) -> str:
    """By the mean log-probability of the tokens that the options do not share."""
    if len(options) == 1:
        return options[0]
    texts = [joint.join([*said, o]) for o in options]
    found = likelihoods([Branch(question.aspect, question.question, "", t) for t in texts])
    shared = next((k for k, p in enumerate(zip(*found, strict=False)) if len(set(p)) > 1), 0)
    means = [sum(p[shared:-1]) / max(1, len(p) - 1 - shared) for p in found]
    return options[means.index(max(means))]


def slots(rating: Rating, words: Words) -> list[list[str]]:
    """The allowed wordings of every sentence, in order."""
    language = words["language"]
    names = {**load_prompts("questions", language)["aspects"], "text": _texts(rating, words)["text"]}
    grades = load_prompts("words", language)["levels"]
    levels = {a: grades[s.level] for a, s in rating.scores.items() if s is not None}
    out: list[list[str]] = []
    for side, own in by_side(rating.findings).items():
        out += [_found(f, rating, words) for f in own]
        out += _besides(side, rating, words) if own else _unfound(side, rating, words, levels)
    given = {a: s.score for a, s in rating.scores.items() if s is not None}
    listed = [
        words["level"].format(aspect=names[a], level=levels[a], score=f"{given[a]:.1f}") for a in SIDES if a in levels
    ]
    if listed:
        out.append([t.format(levels=words["joints"]["list"].join(listed)) for t in words["levels"]])
    if "overall" in levels:
        out.append([t.format(level=levels["overall"], score=f"{given['overall']:.1f}") for t in words["overall"]])
        out += _blamed(given, words)
    known = {f.kind for f in rating.findings}  # what the model holds barely possible, and nothing shows, is no advice
    best = next((r for r in rating.remedies if r.rests_on == "facts" or known & set(r.kinds)), None)
    if best is not None:
        out.append(_advised(best, rating, words, [o[0] for o in out]))
    return out


def _blamed(given: Mapping[str, float], words: Words) -> list[list[str]]:
    """The side that pulls the overall score down, where one of picture and sound clearly does."""
    both = sorted((given[side], side) for side in ("video", "audio") if side in given)
    if len(both) < 2 or both[1][0] - both[0][0] < APART or given["overall"] >= HIGH:
        return []
    return [[words["blamed"][both[0][1]]]]


def _advised(best: Remedy, rating: Rating, words: Words, said: Sequence[str]) -> list[str]:
    """The fix that helps most: with what was measured where no sentence has said it, and only if its fault is there."""
    facts = [m for name in best.facts for m in rating.evidence if m.name == name]
    known = any(told_fact(m, words) in sentence for m in facts for sentence in said)
    found = [f for f in rating.findings if f.side == best.side and f.kind in best.kinds]
    told = {
        "remedy": best.text + ("" if known else measured_text(facts[:1], words)),
        "gain": _gain(best, rating, words),
    }
    doubtful = [f for f in found if not borne_out(f, rating)]
    if doubtful and len(doubtful) == len(found):
        told = filled(doubtful[0], rating, words) | told
        own, form = _texts(rating, words), fault_kinds()[doubtful[0].kind].form
        told |= words["verbs"][
            "captions" if best.side == "text" and own["text"] == words["texts"]["captions"] else "screen"
        ]
        told["where"] = words["whole"][best.side].format(**own)
        return [t.format(**told) for t in words["help_if"]["property" if form == "property" else "things"]]
    return [t.format(**told) for t in words["help"]]


def _gain(best: Remedy, rating: Rating, words: Words) -> str:
    if round(best.gain, 1) == 0:
        return str(words["gain"]["little"])
    of = words["gain"]["overall" if rating.scores.get("overall") is not None else "side"]
    return str(of.format(gain=f"{best.gain:.1f}"))


def _found(f: Finding, rating: Rating, words: Words) -> list[str]:
    form = "property" if fault_kinds()[f.kind].form == "property" else "things"
    told = filled(f, rating, words) | _texts(rating, words)
    how = "findings" if borne_out(f, rating) else "maybe"
    return [t.format(**told) for t in words[how][f.side][form]]


def _besides(side: Side, rating: Rating, words: Words) -> list[list[str]]:
    """The bad facts of a side that none of its findings bears."""
    borne = {m.name for f in rating.findings for m, _ in seen_by(fault_kinds()[f.kind], rating.evidence)}
    facts = [m for m in telling(rating, side) if m.name not in borne and SEVERITIES.index(m.severity) >= TELLING]
    told = {"tells": _tells(facts, words), "whole": words["whole"][side].format(**_texts(rating, words))}
    return [[t.format(**told) for t in words["besides"]]] if facts else []


def _unfound(side: Side, rating: Rating, words: Words, levels: Mapping[str, str]) -> list[list[str]]:
    """What is said of a side without a finding: that it is clean, what its score is down to, or why it has none."""
    score = rating.scores.get(side)
    if score is None:
        if rating.media.video is not None and rating.media.video.still:
            return []  # nobody misses the sound of a picture
        why = rating.missing.get(side)
        short = re.split("[:：]", why or "")[0]
        return [[t.format(why=short) for t in words["gone"][side]]] if short and side in words["gone"] else []
    facts = telling(rating, side)
    high, grave = score.level in CLEAN, any(SEVERITIES.index(m.severity) >= TELLING for m in facts)
    hardly = telling(rating, side, FAINT)
    case = ("although" if grave else "clean") if high else "plain" if facts else "hardly" if hardly else "bare"
    told = {"level": levels[side], "tells": _tells(facts, words)} | _texts(rating, words)
    told["worst"], told["window"] = measured_text(hardly, words), _lowest(side, rating, words)
    told["proof"] = measured_text(_proof(side, rating), words)
    return [[t.format(**told) for t in words[case][side]]]


def _lowest(side: Side, rating: Rating, words: Words) -> str:
    """Which of several windows somebody should look at: that of the lowest score, where it is clearly lower."""
    scored = sorted((s.score, w.start, w.end) for w in rating.windows if (s := w.scores.get(side)) is not None)
    if len(scored) < 2 or scored[-1][0] - scored[0][0] < LOWER:
        return ""
    _, start, end = scored[0]
    return str(words["lowest"].format(start=f"{round(start, 1):g}", end=f"{round(end, 1):g}"))


def _proof(side: Side, rating: Rating) -> list[Measurement]:
    """What was measured of a side that is called clean."""
    facts = {m.name: m for m in rating.evidence if m.value is not None and SEVERITIES.index(m.severity) <= FAINT}
    return [facts[name] for name in PROOF[side] if name in facts][:MOST_PROOF]


def telling(rating: Rating, side: str, least: int = SLIGHT) -> list[Measurement]:
    """The facts of a side that speak of a fault and not of what was filmed or played: the worst, two at most."""
    own = [m for m in rating.evidence if m.modality == side and m.value is not None]
    own = [m for m in own if speaks(m, rating.evidence)]
    own = [m for m in own if SEVERITIES.index(m.severity) >= least]
    return sorted(own, key=lambda m: (-SEVERITIES.index(m.severity), -_grade(m)))[:2]


def _grade(m: Measurement) -> float:
    """How bad it is, between its severity and the next."""
    return (ALL_FACTS[m.name].grade(m.value or 0.0) or 0.0) if m.name in ALL_FACTS else 0.0


def _tells(facts: Sequence[Measurement], words: Words) -> str:
    """ "it is very quiet (measured: loudness -43 LUFS)"; a fact that nobody put into words is only named."""
    said = [
        f"{way[direction(m)]}{measured_text([m], words)}"
        if direction(m) in (way := words["tells"].get(m.name, {}))
        else told_fact(m, words)
        for m in facts
    ]
    *others, last = said or [""]
    return words["joints"]["list"].join(others) + words["joints"]["last"] + last if others else last


def _texts(rating: Rating, words: Words) -> dict[str, str]:
    """What the side of texts is: captions, or what stands on the screen."""
    captions = any(i.origin in ("subtitle", "sidecar") for i in rating.context.items)
    which = "captions" if captions else "screen"
    return {"text": words["texts"][which], "are": words["are"][which]}


def filled(f: Finding, rating: Rating, words: Words) -> dict[str, str]:
    """What the wordings of a finding are filled with. words: prompts/explain.<language>.yaml."""
    kind = fault_kinds()[f.kind]
    name = kind.said(words["language"])
    severity = load_prompts("questions", words["language"])["severities"][f.severity]
    fault = words["fault"]["mass" if kind.form == "countable" and name.endswith("s") else kind.form]
    still = rating.media.video is not None and rating.media.video.still
    span = "" if still and f.span is None else _times(f, rating, words)
    seen = [m for fact in f.facts[:1] for m in rating.evidence if m.name == fact and m.value is not None]
    return {
        "fault": fault.format(severity=severity, kind=name),
        "severity": severity,
        "kind": name,
        "span": span,
        "at": words["span"]["at"].format(span=span) if f.span is not None else span,
        "measured": measured_text(seen, words),
    }


def _time(f: Finding, span: Words) -> str:
    if f.span is None:
        return str(span["whole"])
    return str(span["part"].format(start=f"{round(f.span[0], 1):g}", end=f"{round(f.span[1], 1):g}"))


def _times(f: Finding, rating: Rating, words: Words) -> str:
    """All the times of a finding, in few words; of a file that was looked at in parts, no more than was seen."""
    seen = rating.coverage is None or rating.coverage.share >= SEEN
    if f.span is None and not seen:
        return str(words["span"]["looked"])
    if not f.spans:
        return _time(f, words["span"])
    if len(f.spans) > MOST_TIMES:
        a, b = f.spans[0][0], f.spans[-1][1]
        return str(words["span"]["often"].format(n=len(f.spans), start=f"{round(a, 1):g}", end=f"{round(b, 1):g}"))
    *others, end = [_time(f.model_copy(update={"span": s}), words["span"]) for s in f.spans]
    return str(words["joints"]["list"].join(others) + words["joints"]["times"] + end)


def measured_text(facts: Sequence[Measurement], words: Words) -> str:
    """ " (measured: blur 3.4 px)", or nothing."""
    told = [told_fact(m, words) + _limit(m, words) for m in facts if m.value is not None]
    return str(words["measured"].format(facts=words["joints"]["list"].join(told))) if told else ""


def _limit(m: Measurement, words: Words) -> str:
    """Up to where a bad value would be fine: how far there is to go. Nothing for a value that is no further."""
    known = ALL_FACTS.get(m.name)
    if known is None or SEVERITIES.index(m.severity) < SLIGHT:
        return ""
    limits, sign = {"+": (known.above, 1), "-": (known.below, -1)}[direction(m)]
    if not limits or m.value is None or sign * (m.value - limits[0]) <= 0:  # graded by its span in the whole file
        return ""
    return str(words["limit"][direction(m)].format(limit=number(limits[0])))


def told_fact(m: Measurement, words: Words) -> str:
    """ "blur 3.4 px"."""
    return str(words["fact"].format(fact=told_name(m.name, words["language"]), value=told_value(m, words["language"])))


def told_name(fact: str, language: str) -> str:
    said: str = load_prompts("explain", language)["names"].get(fact) or fact_name(fact, language)
    return said.replace("_", " ")


def told_value(m: Measurement, language: str) -> str:
    return f"{number(m.value or 0.0)} {'' if m.unit in ('ratio', 'index') else translated(m.unit, language)}".strip()


def _lists(found: Sequence[Finding], language: str) -> dict[str, str]:
    """The findings of each side as the model was taught to list them, to explain behind."""
    words = load_prompts("questions", language)
    out: dict[str, str] = {}
    for side, own in by_side(found).items():
        told = [
            words["describe"]["fault"].format(
                severity=words["severities"][f.severity],
                kind=fault_kinds()[f.kind].name(language),
                span=_time(f, words["span"]),
            )
            for f in own
        ]
        *others, last = told or [""]
        joints = words["joints"]
        out[side] = joints["list"].join(others) + joints["last"] + last if others else last
    return out


def write_freely(
    clip: EncodedClip,
    scores: Mapping[str, ScoreDistribution | None],
    language: str,
    lists_faults: bool,
    max_tokens: int = MOST_TOKENS,
) -> str:
    """The explanation of a scored clip in the model's own words. lists_faults: `Card.lists_faults`.

    A model that was taught to is first asked for the faults of each side, which it answers from that side alone, and
    writes with its own answers before it.
    """
    levels = {a: s.level for a, s in scores.items() if s is not None}
    faults: dict[str, str] = {}
    if lists_faults:
        faults = {a: clip.generate(list_branch(a, language), MOST_LISTED) for a in levels if a != "overall"}
    return clip.generate(explain_branch(levels, language, faults=faults), max_tokens)
