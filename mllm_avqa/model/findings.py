"""Findings: the faults that a model holds to be there, read in a closed set like scores, never spelled freely.

Each side is asked for the list of its faults, as the checkpoint was taught (`prompting.list_branch`), and read at the
likelihood of each way to begin it: every severity of every kind of that side, and "no fault". So a side can only name
kinds of its own. Kinds that a measured fact refutes at whatever time are taken out of the set and kept as withdrawn, as
is later what facts refute at its time; what facts bear out counts more (`FindingRules`). A checkpoint that was not
taught to list faults has only what severe facts say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mllm_avqa.model.prompting import Branch, list_branch, load_prompts
from mllm_avqa.model.verdicts import hisses, seen_by, speaks, unseen, verdict
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES, Measurement, Severity
from mllm_avqa.schema.names import SIDES, Side
from mllm_avqa.schema.rating import Claim, Finding, Rating

MOST = 3  # findings of one side: as many as its list was taught to hold
BEARING = 2  # severity from which a fact bears on a finding
SEVERE = SEVERITIES.index("strong")  # from which a fact alone is a finding
BEST = 5.0
LIKELY = 0.5  # probability from which a finding is told without a "may"
PLAIN = SEVERITIES.index("moderate")  # and severity of the fact that measures it most directly
NEAR = 1  # steps that the severity of a finding may be off the facts that measure it
Span = tuple[float, float]
Likelihoods = Callable[[Sequence[Branch]], list[list[float]]]  # `Corridor.likelihoods` of a held clip


@dataclass(frozen=True)
class Asked:
    """What a side's list says before calibration. log_probs [kinds, severities 1-5]; none: P("no fault")."""

    side: str
    kinds: list[str]
    log_probs: np.ndarray
    none: float

    def severity(self, kind: str) -> Severity:
        return SEVERITIES[1 + int(self.log_probs[self.kinds.index(kind)].argmax())]


def taught(side: str, rules: FindingRules) -> list[str]:
    """Kinds of a side that the checkpoint can name."""
    return [k for k, kind in fault_kinds().items() if kind.side == side and (not rules.kinds or k in rules.kinds)]


def ask(
    likelihoods: Likelihoods, sides: Sequence[str], rules: FindingRules, language: str, seconds: float
) -> list[Asked]:
    """The lists of all sides of a window, asked at once; twice where a list begins with the time of a fault."""
    words = load_prompts("questions", language)
    leads = _leads(likelihoods, sides, language, seconds)
    branches: list[Branch] = []
    for side, lead in zip(sides, leads, strict=True):
        texts = [_item(k, s, lead, language) for k in taught(side, rules) for s in SEVERITIES[1:]]
        branches += [_listing(side, language, t) for t in [words["answers"]["none"], *texts]]
    found = iter(likelihoods(branches) if branches else [])
    out = []
    for side in sides:
        kinds = taught(side, rules)
        none = min(1.0, math.exp(sum(next(found))))
        own = np.array([[sum(next(found)[:-1]) for _ in SEVERITIES[1:]] for _ in kinds])
        out.append(Asked(side, kinds, own.reshape(len(kinds), len(SEVERITIES) - 1), none))
    return out


def _leads(likelihoods: Likelihoods, sides: Sequence[str], language: str, seconds: float) -> list[str]:
    """The likeliest time at the beginning of each side's list; empty where a list begins with the fault."""
    if not load_prompts("questions", language)["describe"]["fault"].startswith("{span}"):
        return [""] * len(sides)
    told = [t for t, _ in _times(seconds, language)]
    given = [sum(p[:-1]) for p in likelihoods([_listing(side, language, t) for side in sides for t in told])]
    rows = [given[n * len(told) : (n + 1) * len(told)] for n in range(len(sides))]
    return [told[row.index(max(row))] for row in rows]


def _listing(side: str, language: str, answer: str) -> Branch:
    return Branch(side, list_branch(side, language).question, "", answer)


def _item(kind: str, severity: Severity, span: str, language: str) -> str:
    """A fault as a list says it: "severe hum throughout"; or how that begins."""
    words = load_prompts("questions", language)
    text: str = words["describe"]["fault"].format(
        severity=words["severities"][severity], kind=words["names"][kind], span=span
    )
    return text.strip()


def shares(asked: Asked, bearing: np.ndarray, open_: np.ndarray, rules: FindingRules) -> np.ndarray:
    """Raw probability of each kind. bearing [kinds]: worst severity of the facts that see it; open_: not refuted."""
    if not open_.any():
        return np.zeros(len(asked.kinds))
    logs = np.logaddexp.reduce(asked.log_probs, axis=1) + rules.bearing * bearing
    logs = np.where(open_, logs - logs[open_].max(), -np.inf)
    given: np.ndarray = np.exp(logs) / np.exp(logs).sum() * (1.0 - asked.none)
    return given


def calibrated(raw: np.ndarray, rules: FindingRules) -> np.ndarray:
    """Probability that a kind is there: the raw one's log-odds by the temperature, and the bias."""
    p = np.clip(raw, 1e-6, 1 - 1e-6)
    out: np.ndarray = 1 / (1 + np.exp(-(np.log(p / (1 - p)) / rules.temperature + rules.bias)))
    return out


def weighed(asked: Asked, rating: Rating, language: str) -> tuple[np.ndarray, list[Claim | None]]:
    """Of every kind, how badly the facts that see it say it is there, and what refutes it whenever it may be."""
    bearing, refuted = [], list[Claim | None]()
    for kind in asked.kinds:
        entry, severity = fault_kinds()[kind], asked.severity(kind)
        bearing.append(max((bad for _, bad in seen_by(entry, rating.evidence)), default=1))
        f = finding(kind, severity, language)
        timeless = rating.media.video is not None and rating.media.video.still  # there throughout, or not at all
        told = verdict(f, rating, language) if timeless else unseen(entry, SEVERITIES.index(severity), rating, language)
        refuted.append(_withdrawn(f, told.because, language) if told.support == "contradicted" else None)
    return np.array(bearing, float), refuted


def _withdrawn(f: Finding, because: str, language: str) -> Claim:
    severity = load_prompts("questions", language)["severities"][f.severity]
    said = load_prompts("explain", language)["withdrawn"].format(severity=severity, kind=f.name)
    return Claim(text=said, support="contradicted", because=because)


def kept(asked: Asked, rating: Rating, rules: FindingRules) -> tuple[np.ndarray, list[Claim | None]]:
    """Probability of each kind behind the facts of the rating, and what refutes it."""
    bearing, refuted = weighed(asked, rating, rating.language)
    return calibrated(shares(asked, bearing, np.array([r is None for r in refuted], bool), rules), rules), refuted


def possible(asked: Asked, rating: Rating, rules: FindingRules) -> list[tuple[str, float, float]]:
    """Every kind with its probability and the severity, 1 to 5, that the model expects of it.

    What a fact refutes is left out, unless a fact says that something of the kind is there.
    """
    there, _ = kept(asked, rating, rules)
    alone = calibrated(shares(asked, np.zeros(len(there)), np.ones(len(there), bool), rules), rules)
    weights = np.exp(asked.log_probs - asked.log_probs.max(1, keepdims=True))
    expected = weights @ np.arange(1, len(SEVERITIES)) / weights.sum(1)
    out = []
    for kind, p, own, severity in zip(asked.kinds, there, alone, expected, strict=True):
        throughout = verdict(finding(kind, asked.severity(kind), rating.language), rating, rating.language)
        borne = throughout.support != "contradicted" or any(
            bad >= BEARING for _, bad in measures(kind, rating.evidence)
        )
        out.append((kind, float(max(p, own)) if borne else 0.0, float(severity)))
    return out


def read(
    likelihoods: Likelihoods, rating: Rating, rules: FindingRules, span: Span, lists: Sequence[Asked] | None = None
) -> tuple[list[Finding], list[Claim]]:
    """What the model finds in a window that lies at `span` of the clip, and what of it is withdrawn.

    lists: of the window, where it was asked before.
    """
    language = rating.language
    found: list[Finding] = []
    withdrawn: list[Claim] = []
    if lists is None:
        lists = ask(likelihoods, scored(rating), rules, language, span[1] - span[0])
    for asked in lists:
        there, refuted = kept(asked, rating, rules)
        alone = calibrated(shares(asked, np.zeros(len(there)), np.ones(len(refuted), bool), rules), rules)
        order = np.argsort(-there)[:MOST]
        for n in (n for n in order if refuted[n] is None and there[n] >= rules.threshold):
            kind = asked.kinds[n]
            found.append(finding(kind, asked.severity(kind), language, probability=round(float(there[n]), 4)))
        withdrawn += [r for r, p in zip(refuted, alone, strict=True) if r is not None and p >= rules.threshold]
    times = _timed(likelihoods, found, language, span)
    return [f.model_copy(update={"span": t}) for f, t in zip(found, times, strict=True)], withdrawn


def scored(rating: Rating) -> list[Side]:
    """Sides that have a score."""
    return [s for s in SIDES if rating.scores.get(s) is not None]


def finding(kind: str, severity: Severity, language: str, **more: object) -> Finding:
    """One of a kind, with its words in a language."""
    entry = fault_kinds()[kind]
    told = {"side": entry.side, "kind": kind, "name": entry.said(language), "remedy": entry.remedy.of(language)}
    return Finding.model_validate({**told, "severity": severity, **more})


def _timed(likelihoods: Likelihoods, found: Sequence[Finding], language: str, span: Span) -> list[Span | None]:
    """When each finding is there, in seconds of the clip: the likeliest of all times that its list could say."""
    times = _times(span[1] - span[0], language)
    asked = [_listing(f.side, language, _item(f.kind, f.severity, told, language)) for f in found for told, _ in times]
    given = [sum(p[:-1]) for p in likelihoods(asked)] if asked else []
    out: list[Span | None] = []
    for n in range(len(found)):
        own = given[n * len(times) : (n + 1) * len(times)]
        best = times[own.index(max(own))][1]
        out.append(None if best is None else (round(best[0] + span[0], 3), round(best[1] + span[0], 3)))
    return out


def _times(seconds: float, language: str) -> list[tuple[str, Span | None]]:
    """Every part of a window in words: to the half second as lists are taught, or coarser where that would be many."""
    words = load_prompts("questions", language)["span"]
    step = 0.5 if seconds <= 4 else 1.0 if seconds <= 8 else seconds / 8
    grid = [round(k * step, 2) for k in range(round(seconds / step) + 1)]
    parts = [(a, z) for i, a in enumerate(grid) for z in grid[i + 1 :] if (a, z) != (grid[0], grid[-1])]
    return [(words["whole"], None), *((words["part"].format(start=f"{a:g}", end=f"{z:g}"), (a, z)) for a, z in parts)]


def measured(rating: Rating, rules: FindingRules, facts: Sequence[Measurement] | None = None) -> list[Finding]:
    """What severe facts say without any model: for each the kind that it sees most directly.

    facts: of the whole file, with exact spans, in place of the rating's evidence; they name kinds of any teaching.
    """
    found: dict[str, Finding] = {}
    known = rating.evidence if facts is None else facts
    for m in sorted(known, key=lambda m: -SEVERITIES.index(m.severity)):
        if m.modality in scored(rating) and SEVERITIES.index(m.severity) >= SEVERE and speaks(m, known):
            kind = plainest(m, rules if facts is None else FindingRules())
            if kind is not None:
                told = finding(kind, m.severity, rating.language, origin="measured", **_measured_times([m]))
                found.setdefault(kind, told)
    return list(found.values())


def plainest(m: Measurement, rules: FindingRules) -> str | None:
    """The kind that a bad fact speaks of most directly."""
    own = [k for k in taught(m.modality, rules) if _seen_first(k, m)]
    return min(own, key=lambda k: len(fault_kinds()[k].measures), default=None)


def _seen_first(kind: str, m: Measurement) -> bool:
    """Whether the fact is the first of the kind's measures, and bad in its direction."""
    entry = fault_kinds()[kind]
    first = bool(entry.measures) and entry.measures[0].rstrip("+-") == m.name
    return first and any(bad for seen, bad in seen_by(entry, [m]) if seen is m)


def settled(found: Sequence[Finding], rating: Rating) -> tuple[list[Finding], list[Claim]]:
    """Findings with the facts that bear on them, at the time that these show, and what each costs its side.

    And what is withdrawn: those that the facts refute at the time that they were said to be there.
    """
    out, withdrawn = [], []
    for f in found:
        seen = [(m, bad) for m, bad in seen_by(fault_kinds()[f.kind], rating.evidence) if bad >= BEARING]
        seen.sort(key=lambda s: -s[1])
        facts = [m for m, _ in seen]
        told = verdict(f, rating, rating.language)
        if told.support == "contradicted" and not facts:
            withdrawn.append(_withdrawn(f, told.because, rating.language))
            continue
        f = f.model_copy(update={"severity": _as_measured(f, rating.evidence)})
        if verdict(f, rating, rating.language).support == "contradicted":  # at another time
            f = f.model_copy(update=_measured_times(facts))
        out.append(f.model_copy(update={"facts": [m.name for m in facts]}))
    return _gains(out, rating), withdrawn


def _as_measured(f: Finding, evidence: Sequence[Measurement]) -> Severity:
    """Its severity, a step at most from what the facts say that measure it; hints settle nothing.

    Where they disagree it lies between them; what all of them hardly see of a whole clip is slight at most.
    """
    own = [bad for _, bad in measures(f.kind, evidence)]
    bearing = [bad for bad in own if bad >= BEARING]
    if not own or (not bearing and f.span is not None):
        return f.severity
    low, high = max(own) - NEAR if bearing else 1, min(bearing, default=max(own)) + NEAR
    low, high = (low, high) if low <= high else ((low + high) // 2, (low + high) // 2)
    return SEVERITIES[min(max(SEVERITIES.index(f.severity), low), high)]


def measures(kind: str, evidence: Sequence[Measurement]) -> list[tuple[Measurement, int]]:
    """The facts that measure a kind, the most direct first, each with how badly it is there."""
    entry = fault_kinds()[kind]
    names = {n.rstrip("+-") for n in entry.measures}
    return [(m, bad) for m, bad in seen_by(entry, evidence) if m.name in names]


def borne_out(f: Finding, rating: Rating) -> bool:
    """Whether a finding is more than likely: more probable than not, or measured about as badly as it is said.

    By the most direct fact, in the windows and in the whole file alike.
    """
    if f.origin == "measured" or (f.probability or 0.0) >= LIKELY:
        return True
    own = measures(f.kind, rating.evidence)[:1]
    whole = [m for m in (rating.whole.facts if rating.whole is not None else []) if own and m.name == own[0][0].name]
    least = min(SEVERITIES.index(f.severity), PLAIN)
    return (
        bool(own)
        and all(bad >= least for _, bad in [*own, *measures(f.kind, whole)])
        and hisses(own[0][0], rating.evidence)
    )


def _measured_times(facts: Sequence[Measurement]) -> dict[str, object]:
    """The longest stretch, and all of them where there are several."""
    spans = next((m.spans for m in facts if m.spans), [])
    longest = max(spans, key=lambda s: s[1] - s[0], default=None)
    return {"span": longest, "spans": spans if spans[1:] else []}


def _gains(found: Sequence[Finding], rating: Rating) -> list[Finding]:
    """Each finding's part of what its side has lost, by severity and probability; worst first within a side."""

    def weight(f: Finding) -> float:
        return SEVERITIES.index(f.severity) ** 2 * (1.0 if f.probability is None else f.probability)

    out: list[Finding] = []
    for side, own in by_side(found).items():
        score = rating.scores.get(side)
        lost = 0.0 if score is None else max(0.0, BEST - score.score)
        total = sum(map(weight, own)) or 1.0
        own.sort(key=lambda f: -weight(f))
        out += [f.model_copy(update={"gain": round(lost * weight(f) / total, 2)}) for f in own]
    return out


def by_side(found: Sequence[Finding]) -> Mapping[Side, list[Finding]]:
    return {side: [f for f in found if f.side == side] for side in SIDES}
