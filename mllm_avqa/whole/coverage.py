"""How much of a file its windows show."""

from __future__ import annotations

from collections.abc import Sequence

from mllm_avqa.schema.whole import Coverage, Span
from mllm_avqa.whole.overview import UNSEEN, Overview
from mllm_avqa.whole.spans import length

_SLACK = 0.05  # seconds by which the ends of windows may miss those of the file


def coverage(seen: Overview, windows: Sequence[Span]) -> Coverage:
    """Seconds and share of the file that lie in windows; a file without a length (a still image) is seen whole."""
    duration = seen.rated
    shown = min(duration, length(windows))
    whole = duration - shown <= UNSEEN + _SLACK
    return Coverage(
        duration=round(duration, 3),
        seconds=round(shown, 3),
        share=1.0 if duration <= 0 else round(shown / duration, 4),
        whole=whole,
        full_pass=seen.passed,
    )
