"""Every signal fact this package measures: what it is, its unit, its five thresholds, its source.

The thresholds are the values at which a fact becomes faint, slight, moderate, strong and severe (`SEVERITIES[1:]`).
They were set on real camera, film, speech and music clips against the same clips with synthetic faults of levels 1-5,
so that a clean clip is "none" or "faint" and level k lands on `SEVERITIES[k]` or a neighbour of it.
"""

from __future__ import annotations

from mllm_avqa.evidence.fact import Fact
from mllm_avqa.evidence.sound_facts import SOUND_FACTS
from mllm_avqa.evidence.video_facts import VIDEO_FACTS

FACTS: dict[str, Fact] = VIDEO_FACTS | SOUND_FACTS  # in the order in which `measure` reports them
