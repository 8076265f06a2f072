"""What is known of a clip's timing, and clips with their sound moved over a grid of offsets while they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mllm_avqa.schema.clip import AudioTrack
from mllm_avqa.schema.records import Record

if TYPE_CHECKING:
    from mllm_avqa.media import Clip, Cue, DecodeSpec, MediaInfo, MediaReader

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


GRID = (-1000, -700, -500, -350, -250, -180, -125, -90, -45, 45, 90, 125, 185, 250, 350, 500, 700, 1000)  # ms, late > 0


def shifted(track: AudioTrack, milliseconds: float) -> AudioTrack:
    """Sound that comes later by so much (earlier if negative), zeros where nothing is known; same length and start.

    Samples are moved, as data_recipes does, not time stamps. The zeros at one end are as long as the offset.
    """
    n = track.samples.shape[1]
    by = int(np.clip(round(milliseconds / 1000 * track.rate), -n, n))
    out = np.zeros_like(track.samples)
    out[:, max(by, 0) : n + min(by, 0)] = track.samples[:, max(-by, 0) : n - max(by, 0)]
    return replace(track, samples=out)


class ShiftedReader:
    """A reader whose clips have their sound moved; everything else is the given reader's."""

    def __init__(self, reader: MediaReader, milliseconds: float) -> None:
        self.reader, self.milliseconds, self.limits = reader, milliseconds, reader.limits

    def probe(self, path: str) -> MediaInfo:
        return self.reader.probe(path)

    def read_subtitles(self, path: str) -> list[Cue]:
        return self.reader.read_subtitles(path)

    def read_clip(self, path: str, spec: DecodeSpec) -> Clip:
        clip = self.reader.read_clip(path, spec)
        return clip if clip.audio is None else replace(clip, audio=shifted(clip.audio, self.milliseconds))
