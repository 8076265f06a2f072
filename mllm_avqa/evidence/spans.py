"""Arithmetic of time spans (seconds)."""

from __future__ import annotations

from itertools import pairwise

Span = tuple[float, float]


def length(spans: list[Span]) -> float:
    """Seconds covered by at least one of the spans."""
    return sum(end - start for start, end in union(spans))


def union(spans: list[Span]) -> list[Span]:
    """The spans' union as ordered, disjoint spans."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def uncovered(spans: list[Span], cover: list[Span]) -> list[Span]:
    """Parts of the spans' union that no span of `cover` touches."""
    out: list[Span] = []
    covered = union(cover)
    for start, end in union(spans):
        edges = [start, *(x for a, b in covered for x in (max(a, start), min(b, end)) if a < end and b > start), end]
        out += [(a, b) for k, (a, b) in enumerate(pairwise(edges)) if k % 2 == 0 and b > a]
    return out
