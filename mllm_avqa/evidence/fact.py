"""One entry of the catalogue: what a fact is and when it is bad."""

from __future__ import annotations

from dataclasses import dataclass

from mllm_avqa.evidence.base import SEVERITIES, Modality, Severity, graded

Thresholds = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Fact:
    """One entry of the catalogue. A value can be bad because it is too large (`above`), too small (`below`) or both."""

    modality: Modality
    unit: str
    what: str  # one sentence for people
    source: str  # where the measure comes from
    above: Thresholds | None = None
    below: Thresholds | None = None

    def severity(self, value: float) -> Severity:
        """The worse of the two directions; "none" for a fact that carries no judgement."""
        verdicts = [graded(value, t) for t in (self.above, self.below) if t is not None]
        return max(verdicts, key=SEVERITIES.index, default="none")
