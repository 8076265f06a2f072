"""The claims of an explanation checked against evidence and scores. A contradicted claim is marked, not hidden.

What a claim can be checked against stands with the kind of fault (prompts/faults.*.yaml) and with the fact (the
catalogue of evidence). What measures can refute was settled on the faults of nano's training clips: a statement that is
true must not be marked (docs/EVALUATION.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mllm_avqa.evidence.catalogue import ALL_FACTS as FACTS
from mllm_avqa.evidence.catalogue import fact_name
from mllm_avqa.model.claims import WHOLE, Fault, Level, merged, read_claims, sentences
from mllm_avqa.model.prompting import number
from mllm_avqa.schema.faults import FaultKind, fault_kinds
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.rating import Claim, Finding, Rating
from mllm_avqa.schema.words import say, translated

SPAN_SLACK = 0.5  # seconds a claimed time may miss a measured span by
SEVERITY_TOLERANCE = 2  # steps a claimed severity may be off the measured one
UNSAID = SEVERITIES.index("moderate")  # of a fault that is claimed without a severity
NOISE, HISSING = ("snr", "noise_floor"), -6.0  # dB of flatness of the quietest moments from which they are noise
CLEAN_TO, FAULTY_FROM = 1, 3  # worst severity of a side that bears out, or refutes, that nothing is wrong with it

Support = Literal["contradicted", "supported", "unverified"]
RANK: tuple[Support, ...] = ("contradicted", "supported", "unverified")  # one false part makes a sentence false


@dataclass(frozen=True)
class ClaimVerdict:
    support: Support
    because: str = ""


OPEN = ClaimVerdict("unverified")


def check_claims(explanation: str, rating: Rating, language: str = "en") -> list[Claim]:
    """One claim per sentence, with its support and the fact that decided.

    All sentences that speak of one fault of one side have one verdict.
    """
    found: dict[str, list[ClaimVerdict]] = {}
    for sentence, verdict in _verdicts(explanation, rating, language):
        found.setdefault(sentence, []).append(verdict)
    checked = []
    for sentence in sentences(explanation):
        verdict = _first(found.get(sentence, []))
        checked.append(Claim(text=sentence, support=verdict.support, because=verdict.because))
    return checked


def verdict(found: Finding, rating: Rating, language: str) -> ClaimVerdict:
    """What the facts say of a finding: it is a claim like any other."""
    degree = SEVERITIES.index(found.severity)
    claim = Fault(found.kind, frozenset({found.kind}), found.side, degree, found.span or WHOLE)
    return _fault(claim, rating, language)


def _first(verdicts: Sequence[ClaimVerdict]) -> ClaimVerdict:
    return min(verdicts, key=lambda v: RANK.index(v.support), default=OPEN)


def _verdicts(explanation: str, rating: Rating, language: str) -> Iterator[tuple[str, ClaimVerdict]]:
    claims = read_claims(explanation, language)
    gone = [c for c in claims.clean if c.absent]
    for c in gone:
        is_gone = c.side in rating.missing
        yield (
            c.sentence,
            ClaimVerdict("supported" if is_gone else "unverified", _unscored(c.side or "", rating, language)),
        )
    for sentence, side in claims.sides:
        if side in ("video", "audio") and side in rating.missing and sentence not in {c.sentence for c in gone}:
            yield sentence, ClaimVerdict("contradicted", _unscored(side, rating, language))
    for level in claims.levels:
        yield level.sentence, _level(level, rating, language)
    for c in claims.clean:
        if c.side is not None and not c.absent:
            yield c.sentence, _clean(c.side, rating, language)
    groups: list[list[Fault]] = []
    for f in claims.said:
        own = next((g for g in groups if any(f.is_same(other) for other in g)), None)
        if own is None:
            groups.append([f])
        else:
            own.append(f)
    for group in groups:
        verdict = _first([_fault(f, rating, language) for f in merged(group)])
        yield from ((f.sentence, verdict) for f in group)


def _unscored(aspect: str, rating: Rating, language: str) -> str:
    if aspect not in rating.missing:
        return ""
    return say("reasons.unscored", language, aspect=say(f"aspects.{aspect}", language), why=rating.missing[aspect])


def _level(level: Level, rating: Rating, language: str) -> ClaimVerdict:
    """A level word is right when it is the one that stands beside the score."""
    score, name = rating.scores.get(level.aspect), say(f"aspects.{level.aspect}", language)
    if score is None:
        why = rating.missing.get(level.aspect, "–")
        return ClaimVerdict("contradicted", say("reasons.unscored", language, aspect=name, why=why))
    right = (level.word == score.level) is not level.denied
    because = say(
        "reasons.score", language, aspect=name, score=score.score, level=say(f"levels.{score.level}", language)
    )
    return ClaimVerdict("supported" if right else "contradicted", because)


def _clean(side: str, rating: Rating, language: str) -> ClaimVerdict:
    """ "The sound has no fault" must agree with the worst fact of that side; facts of the content say nothing here."""
    facts = [m for m in rating.evidence if m.modality == side and speaks(m, rating.evidence)]
    if not facts:
        return OPEN
    worst = max(facts, key=lambda m: SEVERITIES.index(m.severity))
    measured = SEVERITIES.index(worst.severity)
    support: Support = (
        "contradicted" if measured >= FAULTY_FROM else "supported" if measured <= CLEAN_TO else "unverified"
    )
    return ClaimVerdict(support, say("reasons.worst", language, fact=_told(worst, language)))


def _fault(claim: Fault, rating: Rating, language: str) -> ClaimVerdict:
    """A word of several kinds is right if one of them is there, and wrong if none of them can be."""
    kinds = [(fault_kinds()[k], k) for k in sorted(claim.kinds)]
    if all(_misplaced(claim.side, kind.side) for kind, _ in kinds):
        side = say(f"aspects.{kinds[0][0].side}", language)
        return ClaimVerdict("contradicted", say("reasons.side", language, fault=_named(claim, language), side=side))
    found = [_kind(claim, kind, rating, language) for kind, _ in kinds if kind.side == claim.side]
    right = [v for v in found if v.support == "supported"]
    if claim.denied:
        return _first(found)
    if right or (found and all(v.support == "contradicted" for v in found)):
        return (right or found)[0]
    return OPEN


def _named(claim: Fault, language: str) -> str:
    kind = fault_kinds().get(claim.name)
    return kind.name(language) if kind else claim.name


def _misplaced(said: str, side: str) -> bool:
    """Text on the screen is part of the picture: what is wrong with one may be said of the other."""
    return said != side and {said, side} != {"video", "text"}


def _kind(claim: Fault, kind: FaultKind, rating: Rating, language: str) -> ClaimVerdict:
    """A named fault must show in the measures that can see it, at the time and as badly as claimed."""
    seen = seen_by(kind, rating.evidence)
    if claim.denied:  # hints neither refute a denial nor bear it out
        seen = [s for s in seen if _measures(kind, s[0])]
    if not seen:
        return OPEN
    worst, measured = _worst(seen)
    reason = _told(worst, language, other_way=measured < SEVERITIES.index(worst.severity))
    if claim.denied:
        clear = (measured == 0 and not kind.missed) or measured > SEVERITY_TOLERANCE
        return ClaimVerdict("contradicted" if measured else "supported", reason) if clear else OPEN
    timed = claim.span is not None and claim.span != WHOLE
    if measured > 1:
        if timed and worst.spans:
            there = [s for s in seen if s[1] > 1 and s[0].spans]
            then = [s for s in there if _overlaps(claim.span or WHOLE, s[0])]
            if not then:
                return _elsewhere([s for s in there if _finds(kind, s[0])], language)
            worst, measured = _worst(then)
            reason = _told(worst, language)
        if claim.severity is None or abs(claim.severity - measured) <= SEVERITY_TOLERANCE:
            return ClaimVerdict("supported", reason)
        return ClaimVerdict("contradicted", reason) if _measures(kind, worst) else OPEN
    degree = UNSAID if claim.severity is None else claim.severity
    return ClaimVerdict("contradicted", reason) if _blind(kind, seen, degree, local=timed) else OPEN


def _blind(kind: FaultKind, seen: Sequence[tuple[Measurement, int]], degree: int, local: bool) -> list[Measurement]:
    """The facts that would have found a fault of this degree and hardly see it. local: in whatever part of the clip."""
    if degree - _worst(seen)[1] <= SEVERITY_TOLERANCE:
        return []
    finding = [m for m, _ in seen if _finds(kind, m)]
    return [m for m in finding if not local or (m.name in FACTS and FACTS[m.name].local)]


def _worst(seen: Sequence[tuple[Measurement, int]]) -> tuple[Measurement, int]:
    return max(seen, key=lambda s: (s[1], SEVERITIES.index(s[0].severity)))


def _elsewhere(seen: Sequence[tuple[Measurement, int]], language: str) -> ClaimVerdict:
    """The fault is there, but not at the claimed time; without a fact that would have found it then, who knows."""
    if not seen:
        return OPEN
    m, _ = _worst(seen)
    at = ", ".join(f"{a:g}–{z:g}" for a, z in m.spans)
    return ClaimVerdict("contradicted", say("reasons.elsewhere", language, fact=_told(m, language), at=at))


def _measures(kind: FaultKind, m: Measurement) -> bool:
    """Whether the fact measures the fault; a hint does not."""
    return any(name.rstrip("+-") == m.name for name in (*kind.measures, *kind.instead))


def _finds(kind: FaultKind, m: Measurement) -> bool:
    """Whether it would have found the fault, had it been there: some measures miss a kind too often."""
    return _measures(kind, m) and not kind.missed


def unseen(kind: FaultKind, degree: int, rating: Rating, language: str) -> ClaimVerdict:
    """What refutes a fault whose time is not known: a fact that would have found it in any part of the clip.

    One that averages over the clip says that it is not there throughout, and one that sees it less badly that it is
    less bad: neither says that it is not there.
    """
    seen = seen_by(kind, rating.evidence)
    blind = _blind(kind, seen, degree, local=True) if seen and _worst(seen)[1] <= 1 else []
    return ClaimVerdict("contradicted", _told(blind[0], language)) if blind else OPEN


def seen_by(kind: FaultKind, evidence: Iterable[Measurement]) -> list[tuple[Measurement, int]]:
    """The facts that see a kind, each with how badly it is there: its own, else those of its neighbours."""
    measured = {m.name: m for m in evidence if m.value is not None}
    own = [n for n in kind.measures if n.rstrip("+-") in measured]
    out = []
    for name in [*(own or kind.instead), *kind.hints]:
        m = measured.get(name.rstrip("+-"))
        if m is not None:
            bad = name[-1] not in "+-" or name[-1] == direction(m)
            out.append((m, SEVERITIES.index(m.severity) if bad else 0))
    return out


def speaks(m: Measurement, evidence: Iterable[Measurement]) -> bool:
    """Whether a bad value speaks of a fault by itself, and not of what was filmed or played."""
    content = FACTS[m.name].content if m.name in FACTS else None
    filmed = content is not None and SEVERITIES.index(m.severity) <= SEVERITIES.index(content)
    return not filmed and hisses(m, evidence)


def hisses(m: Measurement, evidence: Iterable[Measurement]) -> bool:
    """Not for noise between the tones of music, whose spectrum is not flat; other facts are no noise."""
    flat = next((x.value for x in evidence if x.name == "floor_flatness" and x.value is not None), HISSING)
    return m.name not in NOISE or flat >= HISSING


def direction(m: Measurement) -> str:
    """In which direction a fact is bad: "+" too large, "-" too small."""
    fact = FACTS.get(m.name)
    if fact is None or m.value is None or fact.above is None or fact.below is None:
        return "+" if fact is None or fact.below is None else "-"
    return "+" if m.value - fact.above[0] > fact.below[0] - m.value else "-"


def _told(m: Measurement, language: str, other_way: bool = False) -> str:
    """ "blur 3.4 px: strong"."""
    value = "–" if m.value is None else f"{number(m.value)} {translated(m.unit, language)}".strip()
    severity = say(f"severities.{m.severity}", language)
    told = say("reasons.fact", language, fact=fact_name(m.name, language), value=value, severity=severity)
    return say("reasons.other_way", language, fact=told) if other_way else told


def _overlaps(span: tuple[float, float], m: Measurement) -> bool:
    start, end = span[0] - SPAN_SLACK, span[1] + SPAN_SLACK
    return any(a <= end and z >= start for a, z in m.spans)
