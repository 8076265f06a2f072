"""How much of a file a rating covers, in words: what was looked at, what was measured, what faults elsewhere cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mllm_avqa.report.labels import clock
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Finding, Rating
from mllm_avqa.schema.words import load_prompts

MOST_TOLD = 3  # spans in a line


def whole_clip(rating: Rating) -> bool:
    """Whether one window showed all of the clip, so that what holds for it holds throughout."""
    return len(rating.windows) <= 1 and (rating.coverage is None or rating.coverage.whole)


def coverage_lines(rating: Rating, language: str) -> list[str]:
    """What of the file the scores rest on. Nothing for a rating that does not tell."""
    seen = rating.coverage
    if seen is None:
        return []
    words = load_prompts("words", language)
    told, joint = words["coverage"], words["coverage"]["joint"]
    counts = Counter(w.chosen for w in rating.windows)
    if seen.whole:
        lines = [told["all" if len(rating.windows) == 1 else "all_windows"].format(n=len(rating.windows))]
    else:
        how = joint.join(told["how"][why].format(n=counts[why]) for why in told["how"] if counts[why])
        lines = [
            told["part"].format(
                seconds=clock(seen.seconds), duration=clock(seen.duration), share=f"{100 * seen.share:.3g}",
                n=len(rating.windows), how=how,
            )
        ]  # fmt: skip
    until = rating.whole.until if rating.whole is not None else 0.0
    passed = told["passed"][seen.full_pass].format(until=clock(until))
    moved = rating.whole.moved if rating.whole is not None else {}
    listed = joint.join(f"{words['aspects'][a]} {100 * w:.0f} %" for a, w in moved.items())
    return [*lines, *([passed] if passed else []), *([told["moved"].format(listed=listed)] if listed else [])]


def spans_told(spans: Sequence[tuple[float, float]]) -> str:
    more = f" … ({len(spans)})" if len(spans) > MOST_TOLD else ""
    return ", ".join(clock(a) if a == b else f"{clock(a)}–{clock(b)}" for a, b in spans[:MOST_TOLD]) + more


def where(found: Measurement | Finding, rating: Rating, language: str) -> str:
    """When a fact or a finding holds; "whole clip" only where that is known."""
    spans = found.spans or ([found.span] if isinstance(found, Finding) and found.span is not None else [])
    if spans:
        return spans_told(spans)
    words = load_prompts("words", language)
    if whole_clip(rating) or (rating.whole is not None and found in rating.whole.facts and rating.whole.complete):
        return str(words["report"]["whole"])
    return str(words["coverage"]["worst"])
