"""What would help most: every fix that the model's lists and the measured facts suggest, and what it is worth.

What a fault takes of its side is a logistic function of what the model says of the kind and of the facts that see it;
without it the side keeps the rest (`pseudo_mos`: faults of one side multiply). That is averaged with what the model
itself says of the clip once the facts of these faults are told as a clean clip has them (`retold`). The coefficients
were fitted on training clips with known faults: docs/benchmarks/2026-11-30-talk.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.model.findings import BEARING, PLAIN, Asked, measures, plainest, possible
from mllm_avqa.model.retold import Change
from mllm_avqa.model.verdicts import seen_by, speaks
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.names import Side
from mllm_avqa.schema.rating import Rating, Remedy, ScoreDistribution

Scores = dict[str, ScoreDistribution]
Otherwise = Callable[[Sequence[Change]], list[Scores] | None]  # `Corridor.otherwise` of a held window
THERE = SEVERITIES.index("slight")  # from which a fact without a finding suggests a fix
LEAST = 0.05  # points of a gain that is worth telling
TOP, MOST = 4.7, 0.97  # what a clean clip scores, and the most that faults take of a side
# Of a point that a side gains, what the overall score gains (`data_recipes/synthesis/pseudo_mos.py`): picture and sound
# by what the other side scores, timing and captions at most.
SLOPES: Mapping[Side, tuple[float, float, Side | None]] = {
    "video": (0.28, 0.10, "audio"), "audio": (0.12, 0.10, "video"), "sync": (0.35, 0.0, None), "text": (0.2, 0.0, None)
}  # fmt: skip
# Log-odds of what a fault that is there takes of its side: at severity moderate, per step that the worst fact measures,
# where nothing measures its kind, per step of the severity that the model expects.
TAKEN = {"base": -0.4, "measured": 0.1, "unmeasured": -0.1, "expected": 0.7}
EXPECTED = SEVERITIES.index("moderate")
UNASKED = 0.5  # probability of a kind that a fact suggests and that the model was not taught
SHOWN = 0.2  # of one that it holds less likely, where the most direct fact is bad


@dataclass
class Fix:
    """Faults of one side that one remedy mends, the facts that show them, and the worst of them."""

    text: str
    side: Side
    kinds: list[str] = field(default_factory=list)
    facts: set[str] = field(default_factory=set)
    held: bool = False  # a finding
    probability: float = 0.0
    taken: float = 0.0  # of the side's quality by the likeliest costly fault, were it there

    def add(self, kind: str, facts: Sequence[str], probability: float, taken: float) -> None:
        """Put a kind in its place: what is likeliest to cost most comes first."""
        worse = probability * taken > self.probability * self.taken
        if kind not in self.kinds:
            self.kinds.insert(0 if worse else len(self.kinds), kind)
        self.facts |= set(facts)
        if worse:
            self.probability, self.taken = probability, taken


def remedies(
    rating: Rating,
    facts: Sequence[Measurement],
    scores: Scores,
    otherwise: Otherwise,
    lists: Sequence[Asked] = (),
    rules: FindingRules | None = None,
) -> list[Remedy]:
    """Fixes of a rating with findings, by what they gain. facts, scores, lists: of the held window."""
    found = [f for f in fixes(rating, lists, rules or FindingRules()) if f.side in scores]
    changes = [Change(f.side, mended(facts, f.facts), [f.side]) for f in found]
    told = otherwise(changes) or [{} for _ in found]
    out = [(f, _remedy(f, scores, t, rating.evidence)) for f, t in zip(found, told, strict=True)]
    return sorted((r for f, r in out if r.gain >= LEAST or (f.held and r.gain > 0)), key=lambda r: -r.gain)


def fixes(rating: Rating, lists: Sequence[Asked] = (), rules: FindingRules = FindingRules()) -> list[Fix]:
    """One for each remedy on a side: of findings, of what the model's lists hold possible, of bad facts besides."""
    out: dict[tuple[str, str], Fix] = {}

    def add(kind: str, facts: Sequence[str], probability: float, severity: float, held: bool = False) -> None:
        entry = fault_kinds()[kind]
        if text := entry.remedy.of(rating.language):
            fix = out.setdefault((entry.side, text), Fix(text, entry.side))
            fix.add(kind, facts, probability, taken(kind, severity, rating.evidence))
            fix.held |= held

    for f in rating.findings:
        chance = 1.0 if f.probability is None else f.probability
        add(f.kind, f.facts, chance, SEVERITIES.index(f.severity), held=True)
    known = {f.kind for f in rating.findings}
    for asked in lists:
        for kind, chance, severity in possible(asked, rating, rules):
            if any(bad >= PLAIN and speaks(m, rating.evidence) for m, bad in measures(kind, rating.evidence)[:1]):
                chance = max(chance, SHOWN)
            if kind not in known and chance > 0:
                seen = [m.name for m, bad in seen_by(fault_kinds()[kind], rating.evidence) if bad >= BEARING]
                add(kind, seen, chance, severity)
    known |= {kind for asked in lists for kind in asked.kinds}
    borne = {name for fix in out.values() for name in fix.facts}
    for m in rating.evidence:
        if m.name not in borne and speaks(m, rating.evidence) and SEVERITIES.index(m.severity) >= THERE:
            hint = _suggested(m)
            if hint is None or hint in known:
                continue
            if all(bad >= THERE for _, bad in measures(hint, rating.evidence)[:1]):
                add(hint, [m.name], UNASKED, SEVERITIES.index(m.severity))
    return [f for f in out.values() if rating.scores.get(f.side) is not None]


def taken(kind: str, severity: float, evidence: Sequence[Measurement]) -> float:
    """The share of its side's quality that a fault takes, were it there. severity: as the model expects it, 1 to 5."""
    own = [bad for _, bad in measures(kind, evidence)]
    log = TAKEN["base"] + TAKEN["expected"] * (severity - EXPECTED)
    log += TAKEN["measured"] * max(own) if own else TAKEN["unmeasured"]
    return min(MOST, 1 / (1 + math.exp(-log)))


def regained(score: float, taken: float) -> float:
    """Points that a side gains without a fault that takes this share of it."""
    return max(0.0, min(TOP, 1 + (score - 1) / (1 - taken)) - score)


def _suggested(m: Measurement) -> str | None:
    """The kind of fault that a bad fact suggests, of all kinds: what a model was not taught can be measured."""
    first = plainest(m, FindingRules())
    if first is not None:
        return first
    own = (k for k, kind in fault_kinds().items() if kind.side == m.modality and any(b for _, b in seen_by(kind, [m])))
    return next(own, None)  # the first kinds of a side are the commonest


def mended(facts: Sequence[Measurement], names: set[str]) -> list[Measurement]:
    """The facts with these as a clean clip has them."""
    return [
        m.model_copy(update={"value": clean, "severity": "none", "spans": []})
        if m.name in names and m.name in ALL_FACTS and (clean := ALL_FACTS[m.name].clean) is not None
        else m
        for m in facts
    ]


def _remedy(fix: Fix, before: Scores, after: Scores, evidence: Sequence[Measurement]) -> Remedy:
    """The mean of two estimates, each of them noisy: docs/benchmarks."""
    score = before[fix.side].score
    side = fix.probability * regained(score, fix.taken)
    if after:
        side = (side + max(0.0, after[fix.side].score - score)) / 2
    worst = {m.name: SEVERITIES.index(m.severity) for m in evidence if m.name in fix.facts}
    return Remedy(
        text=fix.text, side=fix.side, kinds=fix.kinds, gain=round(side * _slope(fix.side, before), 2),
        side_gain=round(side, 2), facts=sorted(fix.facts, key=lambda name: -worst.get(name, 0)),
        rests_on="facts" if any(bad >= THERE for bad in worst.values()) else "model",
    )  # fmt: skip


def _slope(side: Side, scores: Scores) -> float:
    base, by, other = SLOPES[side]
    if "overall" not in scores or (other is not None and other not in scores):
        return 1.0
    return base + (by * scores[other].score if other is not None else 0.0)
