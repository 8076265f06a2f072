"""Claims of a description against the faults of its record: what was found, and do side, severity and time agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mllm_avqa.model.claims import WHOLE, Claims, Fault
from mllm_avqa.schema.records import Distortion, Record

CLEAN_FROM = 4.0  # MOS: an untouched side below this has faults that nobody wrote down
SEVERITY_WITHIN = 1  # steps
OVERLAP = 0.5  # intersection over union of times
PLAIN = 2  # level from which a fault contradicts "nothing is wrong": level 1 is just noticeable
LEVEL_WITHIN = 1.0  # grades that a level word may miss the label by
MEASURES = ("type", "modality", "severity", "severity_exact", "span", "all")


@dataclass(frozen=True)
class Pair:
    """A claim and the fault it means."""

    claim: Fault
    fault: Distortion
    side: bool
    severity_off: int | None  # None: not stated
    overlap: float | None

    @property
    def severity(self) -> bool:
        return self.severity_off is not None and self.severity_off <= SEVERITY_WITHIN

    @property
    def span(self) -> bool:
        return self.overlap is not None and self.overlap >= OVERLAP

    @property
    def all(self) -> bool:
        return self.side and self.severity and self.span


@dataclass
class Checked:
    """counts[measure] = (right, claimed, true): precision is right / claimed, recall right / true.

    claimed counts what the text states: a claim without a time has no part in the precision of times, yet its fault
    counts as not found there.
    """

    counts: dict[str, tuple[int, int, int]]
    pairs: list[Pair]
    wrong: list[Fault]  # claimed, and not in the record
    missed: list[Distortion]
    open: list[Fault] = field(default_factory=list)  # on a side whose faults nobody listed: neither right nor wrong
    statements: int = 0  # faults, clean sides and levels that the record can answer
    contradicted: list[str] = field(default_factory=list)  # their sentences


def has_faults_listed(record: Record) -> bool:
    """Whether anything is known of the faults of a record: of voted clips usually nothing is."""
    return bool(record.distortions) or (bool(record.labels) and all(lb.pseudo for lb in record.labels.values()))


def listed(record: Record, side: str) -> bool:
    """Whether all faults of a side are known. Not of a side that is poor though no fault of it is listed."""
    if any(d.modality == side for d in record.distortions):
        return True
    label = record.labels.get(side)
    return has_faults_listed(record) and (label is None or label.mean_five >= CLEAN_FROM)


def reference(record: Record, language: str) -> str | None:
    """A description of the clip in this language, if the record has one."""
    answers = [q.answer for q in record.asked(3, language, "describe")]
    return answers[0] if answers else record.description if language == "en" else None


def length(record: Record) -> float:
    """Seconds of the clip as far as the record knows; 0 when it does not."""
    if record.end is not None:
        return record.end - (record.start or 0.0)
    return max((d.end for d in record.distortions), default=0.0)


def overlap(claimed: tuple[float, float], fault: Distortion, seconds: float) -> float:
    """Intersection over union of two times; "throughout" is the whole clip."""
    start, end = (0.0, max(seconds, fault.end)) if claimed == WHOLE else claimed
    both = max(0.0, min(end, fault.end) - max(start, fault.start))
    return both / max(1e-9, max(end, fault.end) - min(start, fault.start))


def check(claims: Claims, record: Record) -> Checked:
    """Claims against the record. One claim answers for one fault; of several ways the one that agrees best is taken."""
    pairs, alone, missed = _match(claims.faults, record)
    wrong = [f for f in alone if listed(record, f.side)]
    judged = [p.claim for p in pairs] + wrong
    said, there = {f.side for f in judged}, {d.modality for d in record.distortions}
    true = len(record.distortions)
    with_severity, with_span = (sum(getattr(f, k) is not None for f in judged) for k in ("severity", "span"))
    found = Checked(
        counts={
            "type": (len(pairs), len(judged), true),
            "modality": (len(said & there), len(said), len(there)),
            "severity": (sum(p.severity for p in pairs), with_severity, true),
            "severity_exact": (sum(p.severity_off == 0 for p in pairs), with_severity, true),
            "span": (sum(p.span for p in pairs), with_span, true),
            "all": (sum(p.all for p in pairs), len(judged), true),
        },
        pairs=pairs,
        wrong=wrong,
        missed=missed,
        open=[f for f in alone if f not in wrong],
    )
    _contradictions(found, claims, record)
    return found


def _contradictions(found: Checked, claims: Claims, record: Record) -> None:
    """A statement is contradicted when the record says otherwise, not when it says nothing."""
    bad = [f.sentence for f in found.wrong]
    for p in found.pairs:
        late = p.overlap is not None and not p.span
        if not p.side or late or (p.severity_off is not None and not p.severity):
            bad.append(p.claim.sentence)
    found.statements = len(found.pairs) + len(found.wrong)
    for c in (c for c in claims.clean if not c.absent):
        sides = [c.side] if c.side else [*record.labels]
        faults = [d for d in record.distortions if d.modality in sides and d.level >= PLAIN]
        if faults or all(listed(record, s) for s in sides):
            found.statements += 1
            bad += [c.sentence] * bool(faults)
    labels = {a: lb.mean_five for a, lb in record.labels.items()}
    for level in claims.levels:
        if level.aspect in labels:
            found.statements += 1
            off = abs(level.value - labels[level.aspect])
            bad += [level.sentence] * (off < LEVEL_WITHIN / 2 if level.denied else off > LEVEL_WITHIN)
    found.contradicted = bad


def _match(claims: Sequence[Fault], record: Record) -> tuple[list[Pair], list[Fault], list[Distortion]]:
    """(pairs, claims without a fault, faults without a claim), by the best assignment in all."""
    from scipy.optimize import linear_sum_assignment

    faults = record.distortions
    if not claims or not faults:
        return [], list(claims), list(faults)
    table = [[_pair(c, d, record) for d in faults] for c in claims]
    worth = np.array([[0.0 if p is None else _worth(p) for p in row] for row in table])
    chosen = [(i, j) for i, j in zip(*linear_sum_assignment(-worth), strict=True) if table[i][j] is not None]
    pairs = [p for i, j in chosen if (p := table[i][j]) is not None]
    used, hit = {i for i, _ in chosen}, {j for _, j in chosen}
    return (
        pairs,
        [c for i, c in enumerate(claims) if i not in used],
        [d for j, d in enumerate(faults) if j not in hit],
    )


def _pair(claim: Fault, fault: Distortion, record: Record) -> Pair | None:
    if fault.kind not in claim.kinds:
        return None
    off = None if claim.severity is None else abs(claim.severity - fault.level)
    shared = None if claim.span is None else overlap(claim.span, fault, length(record))
    return Pair(claim, fault, claim.side == fault.modality, off, shared)


def _worth(p: Pair) -> float:
    """More pairs before better ones; a precise name before a plain word."""
    close = 0.0 if p.severity_off is None else 1.0 - p.severity_off / 5
    return 100.0 + 10.0 * p.side + 5.0 * (len(p.claim.kinds) == 1) + close + (p.overlap or 0.0)
