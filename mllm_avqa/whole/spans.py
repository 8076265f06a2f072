"""Spans of seconds: joined, measured, cut."""

from __future__ import annotations

from collections.abc import Iterable

from mllm_avqa.schema.whole import Span


def union(spans: Iterable[Span], gap: float = 0.0) -> list[Span]:
    """In order, those joined that overlap or lie less than `gap` apart."""
    out: list[Span] = []
    for a, b in sorted(spans):
        if out and a <= out[-1][1] + gap:
            out[-1] = (out[-1][0], max(out[-1][1], b))
        else:
            out.append((a, b))
    return out


def length(spans: Iterable[Span]) -> float:
    """Seconds that they hold together."""
    return float(sum(b - a for a, b in union(spans)))


def overlap(spans: Iterable[Span], start: float, end: float) -> float:
    """Seconds of [start, end) that they hold."""
    return length([(max(a, start), min(b, end)) for a, b in spans if b > start and a < end])
