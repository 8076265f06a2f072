"""Timed captions, from a subtitle stream or a file beside the clip, put into order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mllm_avqa.context.clean import clean_text, strip_markup
from mllm_avqa.schema.text import REPAIRED, Origin, TextItem


class CueLike(Protocol):
    """What a cue must have; seconds on the clip's clock."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def text(self) -> str: ...


def repair_times(start: float, end: float) -> tuple[float, float, str]:
    """Times with 0 <= start <= end, and what had to be done for it ("" = nothing).

    Backwards times are swapped (the usual cause is a typo in one of them, the cue still belongs there), negative
    ones are raised to 0, equal ones are left equal: nobody knows how long the cue was meant to stand.
    """
    done = []
    if end < start:
        start, end = end, start
        done.append("backwards")
    elif end == start:
        done.append("zero duration")
    if start < 0:
        start, end = 0.0, max(end, 0.0)
        done.append("negative start")
    return start, end, f"{REPAIRED}: {', '.join(done)}" if done else ""


def cue_items(
    cues: Iterable[CueLike], origin: Origin, detail: str, window: tuple[float, float], ass: bool = False
) -> list[TextItem]:
    """Items of the cues that overlap `window` (seconds), in order of time, markup stripped, times repaired.

    A cue of zero duration counts as inside when its instant is. Repeated cues (same text, same times) are given once.
    """
    items: list[TextItem] = []
    seen: set[tuple[float, float, str]] = set()
    for cue in sorted(cues, key=lambda c: (c.start, c.end)):
        start, end, note = repair_times(float(cue.start), float(cue.end))
        inside = start < window[1] and (end > window[0] or window[0] <= start == end)
        text = " ".join(strip_markup(cue.text, ass).split())
        if not inside or not text or (start, end, text) in seen:
            continue
        seen.add((start, end, text))
        language = clean_text(getattr(cue, "language", None) or "")[:16]
        parts = [detail, f"language={language}" if language else "", note]
        items.append(TextItem(origin=origin, text=text, start=start, end=end, detail="; ".join(p for p in parts if p)))
    return items
