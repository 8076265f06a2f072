"""Held-out clips through the same corridor as every rating, and the ways in which a part of the input is taken away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from eval.writing import told
from mllm_avqa.judge import Scores, WindowJudge
from mllm_avqa.model.attribution import drop
from mllm_avqa.rater import Rater, pool_windows
from mllm_avqa.schema.errors import AvqaError, MediaNotFound
from mllm_avqa.schema.records import Record
from mllm_avqa.schema.text import TextContext
from mllm_avqa.windows import Prepared, prepare, window_starts

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


def prepare_record(record: Record, base: Path, rater: Rater) -> HeldOut:
    """All windows of a record's span. Raises MediaError subclasses."""
    media = base / record.media
    if not media.is_file():
        raise MediaNotFound(f"media file of record {record.id} does not exist: {record.media}")
    spec = rater.card.views
    duration = rater.reader.probe(str(media)).duration
    start, end = record.start or 0.0, record.end if record.end is not None else duration
    windows = []
    for offset in window_starts(max(0.0, end - start), spec):
        at = start + offset
        inside = end < duration - 0.05 and at + spec.window_seconds > end  # the span ends before the file does
        own = spec.model_copy(update={"window_seconds": max(0.2, end - at)}) if inside else spec
        windows.append(
            prepare(
                str(media), at, rater.reader, own,
                context=rater.context, user_text=record.context.get("user"), asr=rater.asr,
            )
        )  # fmt: skip
    return HeldOut(record, windows)


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
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, parts[0]) if parts else None
        for n in range(len(parts)):
            assert ahead is not None  # submitted before every turn
            current = ahead.result()
            ahead = pool.submit(make, parts[n + 1]) if n + 1 < len(parts) else None
            yield current
            log.info("%d of %d clips", min((n + 1) * size, len(records)), len(records))


# ---- scoring --------------------------------------------------------------------------------------------------------


class Judge(WindowJudge):
    """Scores held-out clips with a rater's backbone and scorer. `forget` frees what it keeps of a chunk."""

    def __init__(self, rater: Rater) -> None:
        super().__init__(rater.backbone, rater.scorer, rater.card)
        self.rater = rater

    def clips(
        self, clips: Sequence[HeldOut], language: str, condition: Callable[[Prepared], Prepared] = lambda p: p
    ) -> list[Scores]:
        """Scores of every clip, windows pooled as the card says."""
        given = iter(self.windows([condition(p) for c in clips for p in c.windows], language))
        out = []
        for c in clips:
            parts = [next(given) for _ in c.windows]
            aspects = list(dict.fromkeys(a for s in parts for a in s))
            pooled = {a: pool_windows([s[a] for s in parts if a in s], self.card.pooling.worst) for a in aspects}
            out.append(pooled if len(parts) > 1 else parts[0])
        return out
