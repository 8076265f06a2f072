"""When a fault is there in a clip of several windows: where the pass over the whole file, the facts of the windows, or
the model's list of each window hold it; not where the one window lies that was asked for times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mllm_avqa.model.findings import BEARING, MOST, Asked, Span, finding, kept, measures
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Finding, Rating
from mllm_avqa.whole.spans import length, union

HOLDING = 0.5  # of the threshold of a finding: as probable as that in a window, a fault found elsewhere lasts there too
NEARLY = 0.9  # of the file, or of the time in its windows: throughout
TOUCHING = 0.25  # seconds between windows that are one stretch


@dataclass(frozen=True)
class AskedWindow:
    """One window: where it lies, its own facts, the model's lists of its sides, and how probable each kind is there."""

    start: float
    end: float
    facts: Sequence[Measurement]
    asked: Sequence[Asked] = ()
    probable: Mapping[str, float] = field(default_factory=dict)


def weighed_parts(parts: Sequence[AskedWindow], rating: Rating, rules: FindingRules) -> list[AskedWindow]:
    """The windows with what their lists say of every kind behind their own facts."""
    out = []
    for p in parts:
        own = rating.model_copy(update={"evidence": list(p.facts)})
        told = {k: float(x) for a in p.asked for k, x in zip(a.kinds, kept(a, own, rules)[0], strict=True)}
        out.append(replace(p, probable=told))
    return out


def on_average(
    parts: Sequence[AskedWindow], found: Sequence[Finding], rating: Rating, rules: FindingRules
) -> list[Finding]:
    """What the worst window holds, and what all of them hold on average though that one does not."""
    out = list(found)
    for kind in dict.fromkeys(k for p in parts for k in p.probable):
        own = [(p.probable[kind], p) for p in parts if kind in p.probable]
        mean = float(np.mean([x for x, _ in own]))
        if mean >= rules.threshold and all(f.kind != kind for f in out):
            best = max(own, key=lambda x: x[0])[1]
            severity = next(a for a in best.asked if kind in a.kinds).severity(kind)
            out.append(finding(kind, severity, rating.language, probability=round(mean, 4)))
    out.sort(key=lambda f: -(f.probability or 0.0))
    return [f for n, f in enumerate(out) if sum(g.side == f.side for g in out[:n]) < MOST]


def lasting(f: Finding, parts: Sequence[AskedWindow], rating: Rating, rules: FindingRules) -> Finding:
    """A finding with all the time that it is there; throughout where that is always, or nearly."""
    spans = _exact(f, rating)
    time = rating.whole.until if rating.whole is not None else 0.0
    if not spans:
        held = _held(f, parts, rules)
        if len(held) == 1 and f.span is not None and held[0].start <= f.span[0] <= f.span[1] <= held[0].end:
            return f  # a part of the one window
        spans = union(((p.start, p.end) for p in held), TOUCHING)
        time = length((p.start, p.end) for p in parts)
    if not spans:
        return f
    throughout = length(spans) >= NEARLY * time
    longest = max(spans, key=lambda s: s[1] - s[0])
    told = {"span": None if throughout else longest, "spans": [] if throughout or not spans[1:] else spans}
    return f.model_copy(update=told)


def _exact(f: Finding, rating: Rating) -> list[Span]:
    """Where the pass over the whole file shows it: by the fact that bears it out most."""
    facts = rating.whole.facts if rating.whole is not None else []
    own = [m for m, bad in measures(f.kind, facts) if bad >= BEARING and m.spans]
    return next((union(m.spans) for m in own if m.name in (f.facts[:1] or [m.name])), [])


def _held(f: Finding, parts: Sequence[AskedWindow], rules: FindingRules) -> list[AskedWindow]:
    """The windows that hold it: by the fact that bears it out where it is measured, else by the model's lists."""

    def bad(p: AskedWindow) -> bool:
        own = {m.name: bad for m, bad in measures(f.kind, p.facts)}
        return next((own[name] >= BEARING for name in f.facts if name in own), False)

    return [p for p in parts if bad(p)] or [
        p for p in parts if p.probable.get(f.kind, 0.0) >= HOLDING * rules.threshold
    ]
