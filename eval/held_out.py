"""Held-out clips through the corridor of every rating, and the ways in which a part of the input is taken away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from eval.writing import told
from mllm_avqa.corridor import Encoded, EncodedFile, Scores
from mllm_avqa.media import MediaReader
from mllm_avqa.model.attribution import drop
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.records import Record
from mllm_avqa.schema.text import TextContext
from mllm_avqa.windows import Prepared, ahead, record_windows

log = logging.getLogger(__name__)


@dataclass
class HeldOut:
    """A record, its prepared windows, and its labels on 1-5, higher better."""

    record: Record
    windows: list[Prepared]

    @property
    def labels(self) -> dict[str, float]:
        return labels_of(self.record)


def labels_of(record: Record) -> dict[str, float]:
    return {a: lb.mean_five for a, lb in record.labels.items()}


@contextmanager
def opened(rater: Rater | None, checkpoint: str, *, context: str, threads: int | None) -> Iterator[Rater]:
    """The rater that is given, which stays open, or else the checkpoint's, closed at the end.

    Raises CheckpointError for a checkpoint that does not load.
    """
    if rater is not None:
        yield rater
        return
    made = Rater.from_pretrained(checkpoint, context=context, threads=threads)
    try:
        yield made
    finally:
        made.close()


# ---- conditions -----------------------------------------------------------------------------------------------------


def without(p: Prepared, *, picture: bool = False, sound: bool = False) -> Prepared:
    """The window without its picture views or its sound view; facts stay."""
    return drop(p, [name for name, gone in (("picture", picture), ("sound", sound)) if gone])


CONDITIONS: dict[str, Callable[[Prepared], Prepared]] = {
    "full": lambda p: p,
    "no_evidence": lambda p: replace(p, evidence=[]),
    "evidence_only": lambda p: without(p, picture=True, sound=True),
    "no_pixels": lambda p: without(p, picture=True),
    "no_sound": lambda p: without(p, sound=True),
    "no_context": lambda p: replace(p, context=TextContext()),
}


# ---- preparing ------------------------------------------------------------------------------------------------------


def prepare_record(record: Record, base: Path, rater: Rater, reader: MediaReader | None = None) -> HeldOut:
    """All windows of a record's span. reader: instead of the rater's own. Raises MediaError subclasses."""
    windows = record_windows(
        record, base, reader or rater.reader, rater.card.views, context=rater.context, asr=rater.asr
    )
    return HeldOut(record, list(windows))


def chunks(
    records: Sequence[Record], base: Path, rater: Rater, size: int, failures: dict[str, str]
) -> Iterator[list[HeldOut]]:
    """Prepared clips, `size` at a time; the next chunk is decoded while this one is used. Failures are noted by id."""

    def make(part: Sequence[Record]) -> list[HeldOut]:
        done = []
        for r in part:
            try:
                done.append(prepare_record(r, base, rater))
            except AvqaError as e:
                why = told(e, base, r.media)
                failures[r.id] = f"{e.kind}: {why}"
                log.warning("%s: %s: %s", r.id, e.kind, why)
        return done

    parts = [records[i : i + size] for i in range(0, len(records), size)]
    for n, (current,) in enumerate(ahead(make, parts, held=2)):
        yield current
        log.info("%d of %d clips", min((n + 1) * size, len(records)), len(records))


# ---- scoring --------------------------------------------------------------------------------------------------------


class Judge:
    """Scores held-out clips through a rater's corridor. `forget` frees what it keeps of a chunk."""

    def __init__(self, rater: Rater) -> None:
        self.rater, self.card, self.corridor = rater, rater.card, rater.corridor

    def forget(self) -> None:
        self.corridor.forget()

    def encode(self, p: Prepared, language: str) -> Encoded:
        return self.corridor.encode(p, language, remember=True)

    def windows(self, windows: Sequence[Prepared], language: str) -> list[Scores]:
        return self.corridor.score_windows(windows, language)

    def clips(
        self, clips: Sequence[HeldOut], language: str, condition: Callable[[Prepared], Prepared] = lambda p: p
    ) -> list[Scores]:
        """Scores of every clip, windows pooled as the card says."""
        return self.corridor.clips([[condition(p) for p in c.windows] for c in clips], language)

    def hold(self, clip: HeldOut, language: str) -> EncodedFile:
        """A clip with its prefixes held for questions."""
        return self.corridor.encode_clip(clip.windows, language)


SEEN = ("subtitle", "sidecar", "ocr")  # origins of texts that belong to the picture
HEARD = ("asr",)


def picture_only(p: Prepared) -> Prepared:
    """No sound, no fact about it or about timing, no transcript."""
    kept = [m for m in p.evidence if m.modality in ("video", "text")]
    return replace(without(p, sound=True), evidence=kept, context=_without(p.context, HEARD))


def sound_only(p: Prepared) -> Prepared:
    """No picture, no fact about it or about timing, no text that is seen."""
    kept = [m for m in p.evidence if m.modality == "audio"]
    return replace(without(p, picture=True), evidence=kept, context=_without(p.context, SEEN))


def _without(context: TextContext, origins: tuple[str, ...]) -> TextContext:
    return context.model_copy(update={"items": [i for i in context.items if i.origin not in origins]})


NEEDS = {"picture_only": "video", "sound_only": "audio"}  # what a clip must have for this to mean anything
SHOWN: dict[str, Callable[[Prepared], Prepared]] = {
    **CONDITIONS,
    "picture_only": picture_only,
    "sound_only": sound_only,
}
