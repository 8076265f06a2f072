"""A signal fact and the words for how bad it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mllm_avqa.schema.names import Side

# Index = severity 0..5; level k of a synthesised distortion is called SEVERITIES[k].
Severity = Literal["none", "faint", "slight", "moderate", "strong", "severe"]
SEVERITIES: tuple[Severity, ...] = ("none", "faint", "slight", "moderate", "strong", "severe")


class Measurement(BaseModel):
    """One reference-free signal fact.

    value is in `unit` (NaN is never stored: an unmeasurable fact is `value=None` with the reason in `note`);
    spans are [start, end] seconds on the clip's clock where the fact holds; none = the whole window.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str  # snake_case, e.g. "blur", "loudness", "av_offset"
    modality: Side
    value: float | None
    unit: str  # "dB", "LUFS", "px", "ratio", "Hz", "ms", ...
    severity: Severity = "none"
    spans: list[tuple[float, float]] = []
    note: str = ""


def graded(value: float, thresholds: tuple[float, float, float, float, float]) -> Severity:
    """Severity of `value` given the five thresholds at which it becomes faint .. severe.

    Rising thresholds mean larger is worse, falling ones mean smaller is worse.
    """
    rising = thresholds[-1] > thresholds[0]
    passed = sum(value >= t if rising else value <= t for t in thresholds)
    return SEVERITIES[passed]
