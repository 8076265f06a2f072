"""What would help most: every fix that the findings and the worst facts suggest, and what it is thought to be worth.

A fix is worth what the scores gain when the facts of its faults are told as a clean clip has them (`retold`): the model
judges a clip that does not exist, in one forward behind the cached prefix. Faults that no fact sees have their share of
what their side has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mllm_avqa.evidence.catalogue import ALL_FACTS
from mllm_avqa.model.findings import measures, plainest
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
UNSEEN = 0.1  # of the share of a fault that no fact sees: it says what is lost, not whether this would bring it back
# Of a point that a side gains, what the overall score gains: parts of picture and sound at mid scale, and what timing
# and captions may take at most (`data_recipes/synthesis/pseudo_mos.py`).
PART = {"video": 0.58, "audio": 0.42, "sync": 0.35, "text": 0.2}


@dataclass
class Fix:
    """Faults of one side that one remedy mends, and the facts that show them."""

    text: str
    side: Side
    kinds: list[str] = field(default_factory=list)
    facts: set[str] = field(default_factory=set)
    share: float = 0.0  # points of what the side has lost


def remedies(rating: Rating, facts: Sequence[Measurement], scores: Scores, otherwise: Otherwise) -> list[Remedy]:
    """Fixes of a rating with findings, by what they gain. facts, scores: of the held window."""
    found = fixes(rating)
    changes = [Change(f.side, mended(facts, f.facts), [a for a in (f.side, "overall") if a in scores]) for f in found]
    told = otherwise(changes) or [{} for _ in found]
    out = [_remedy(f, scores, t) for f, t in zip(found, told, strict=True)]
    return sorted((r for r in out if r.gain >= LEAST), key=lambda r: -r.gain)


def fixes(rating: Rating) -> list[Fix]:
    """One for each remedy on a side: of findings, and of bad facts that no finding bears."""
    out: dict[tuple[str, str], Fix] = {}

    def add(side: Side, kind: str, facts: Sequence[str], share: float) -> None:
        text = fault_kinds()[kind].remedy.of(rating.language)
        if text:
            fix = out.setdefault((side, text), Fix(text, side))
            fix.kinds.append(kind)
            fix.facts |= set(facts)
            fix.share += share

    for f in rating.findings:
        add(f.side, f.kind, f.facts, f.gain)
    borne = {name for f in rating.findings for name in f.facts}
    for m in rating.evidence:
        if m.name not in borne and speaks(m, rating.evidence) and SEVERITIES.index(m.severity) >= THERE:
            kind = _suggested(m)
            if (
                kind is not None
                and all(bad >= THERE for _, bad in measures(kind, rating.evidence)[:1])
                and rating.scores.get(m.modality) is not None
            ):
                add(m.modality, kind, [m.name], 0.0)
    return list(out.values())


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


def _remedy(fix: Fix, before: Scores, after: Scores) -> Remedy:
    """Gains by the facts; what no fact sees counts little, for a share says nothing of whether the fault is there."""
    gained = {a: max(0.0, s.score - before[a].score) for a, s in after.items()}
    side = gained.get(fix.side, 0.0)
    by_facts = side >= LEAST
    if not by_facts:
        side = UNSEEN * fix.share
    overall = side * (PART[fix.side] if "overall" in before else 1.0)
    if by_facts and "overall" in gained:
        overall = (overall + gained["overall"]) / 2  # two estimates, each of them noisy: docs/benchmarks
    return Remedy(
        text=fix.text, side=fix.side, kinds=fix.kinds, gain=round(overall, 2), side_gain=round(side, 2),
        rests_on="facts" if by_facts else "share",
    )  # fmt: skip
