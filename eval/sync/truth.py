"""What is known of a clip's timing."""

from __future__ import annotations

from dataclasses import dataclass

from mllm_avqa.schema.records import Record

# ITU-R BT.1359-1, ms that the sound is late (the recommendation counts early sound as positive: +45, -125, +90, -185).
DETECTABLE = (-45.0, 125.0)
ACCEPTABLE = (-90.0, 185.0)
CLASSES = ("in_step", "early", "late", "drift", "unrelated")
KINDS = {"offset_early": "early", "offset_late": "late", "drift": "drift", "unrelated_sound": "unrelated"}
DIFFICULTIES = ("easy", "hard", "super-hard")  # other clip's sound; own, other part; own, partly the same (AVTS, 2018)


@dataclass(frozen=True)
class Truth:
    """kind: one of CLASSES. offset: ms, None for drift and unrelated sound. variant: which unrelated sound."""

    kind: str
    offset: float | None
    variant: str = ""
    clean: bool = False  # no fault of any kind

    @property
    def name(self) -> str:
        """The offset class in words."""
        if self.kind in ("early", "late") and self.offset is not None:
            return f"{self.kind} {abs(self.offset):g} ms"
        return f"unrelated, {self.variant}" if self.variant else self.kind


def truth_of(record: Record) -> Truth | None:
    """None for a clip whose sound has no right time (no label of sync), or with several faults of it."""
    faults = [d for d in record.distortions if d.modality == "sync"]
    if len(faults) > 1 or not (faults or "sync" in record.labels):
        return None
    if not faults:
        return Truth("in_step", 0.0, clean=not record.distortions)
    fault = faults[0]
    kind = KINDS.get(fault.kind)
    if kind is None:
        return None
    if kind == "unrelated":
        return Truth(kind, None, str(fault.parameters.get("variant", "")))
    if kind == "drift":
        return Truth(kind, None)
    size = fault.parameters.get("milliseconds")
    return None if size is None else Truth(kind, float(size) * (-1 if kind == "early" else 1))


def zone(offset: float) -> str:
    """Where an offset lies: "undetectable", "detectable" or "unacceptable" (ITU-R BT.1359-1, limits included above)."""
    for name, (early, late) in (("unacceptable", ACCEPTABLE), ("detectable", DETECTABLE)):
        if offset <= early or offset >= late:
            return name
    return "undetectable"
