"""Claims of an explanation, checked against the evidence and the scores. A contradicted claim is marked, not hidden."""

from __future__ import annotations

import re

from mllm_avqa.evidence.base import SEVERITIES
from mllm_avqa.levels import VALUES, WORDS
from mllm_avqa.prompting import load_prompts
from mllm_avqa.rating import Claim, Rating

LEVEL_TOLERANCE = 1.0  # a level word may be off by one grade from the score before it counts as contradicted


def sentences(text: str) -> list[str]:
    return [s.strip() for s in re.findall(r"[^.!?。！？]+(?:\.\d[^.!?。！？]*)*[.!?。！？]?", text) if s.strip()]


def check_claims(explanation: str, rating: Rating, language: str = "en") -> list[Claim]:
    """One claim per sentence, with its support and what it was checked against."""
    table = load_prompts("claims", language)
    return [_check(s, rating, table) for s in sentences(explanation)]


def _check(sentence: str, rating: Rating, table: dict[str, dict[str, list[str]]] | object) -> Claim:
    assert isinstance(table, dict)
    low = sentence.lower()
    findings = [*_levels(low, rating, table["aspects"]), *_faults(low, rating, table)]
    for verdict in ("contradicted", "supported"):
        for support, because in findings:
            if support == verdict:
                return Claim(text=sentence, support=support, because=because)
    return Claim(text=sentence, support="unverified")


def _levels(low: str, rating: Rating, aspects: dict[str, list[str]]) -> list[tuple[str, str]]:
    """A level word beside an aspect's name must agree with that aspect's score."""
    out = []
    named = [w for w in WORDS if re.search(rf"(?<![a-z]){w}(?![a-z])", low)]
    for aspect, names in aspects.items():
        if len(named) == 1 and any(n in low for n in names):
            score = rating.scores.get(aspect)
            if score is None:
                out.append(("contradicted", f"{aspect} was not scored: {rating.missing.get(aspect, '')}"))
                continue
            off = abs(score.score - float(VALUES[WORDS.index(named[0])]))
            verdict = "supported" if off <= LEVEL_TOLERANCE else "contradicted"
            out.append((verdict, f"{aspect} score {score.score:.2f}"))
    return out


def _faults(low: str, rating: Rating, table: dict[str, dict[str, list[str]]]) -> list[tuple[str, str]]:
    """A named fault must show in the measures that can see it."""
    out = []
    for phrase, measures in table["faults"].items():
        if phrase not in low:
            continue
        seen = [m for m in rating.evidence if m.name in measures and m.value is not None]
        if not seen:
            continue
        worst = max(seen, key=lambda m: SEVERITIES.index(m.severity))
        denied = any(n in low for n in table["negations"])
        present = worst.severity not in ("none", "faint")
        because = f"{worst.name} {worst.value:.3g} {worst.unit}: {worst.severity}"
        if present != denied:
            out.append(("supported", because))
        elif worst.severity != "faint":
            out.append(("contradicted", because))
    return out
