"""Clips of known timing through a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from eval import machine, measure
from eval.held_out import Judge, chunks, opened, prepare_record
from eval.sync.grid import GRID, ShiftedReader
from eval.sync.read import CRITERION, Reading, read
from eval.sync.rows import Row, sync_tables
from eval.sync.truth import Truth, truth_of
from eval.writing import told
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import AvqaError, ConfigError
from mllm_avqa.schema.records import Record, read_records

if TYPE_CHECKING:
    from mllm_avqa.media import MediaReader

log = logging.getLogger(__name__)
CHUNK = 8


@dataclass(frozen=True)
class Settings:
    """`grid`: this many clips in step are also read with their sound moved to every offset of `grid.GRID`."""

    split: str = "test"
    limit: int | None = None
    language: str = ""  # empty = the first of the card
    context: str = "none"  # texts say nothing of timing
    criterion: float = CRITERION
    grid: int = 0
    threads: int | None = None


@dataclass
class Readings:
    """By where the clips come from: "records" as they are, "grid" moved here. Other clips are counted."""

    sets: dict[str, list[Reading]]
    failed: dict[str, str]
    untimed: int  # clips whose sound has no right time, or with several faults of timing


def sync(
    records_file: Path, checkpoint: str, settings: Settings, *, rater: Rater | None = None
) -> tuple[dict[str, Any], Readings]:
    """Results with their origin, and the readings they come from.

    rater: the checkpoint's, open already, with the context of the settings. Raises ConfigError (split) and
    CheckpointError.
    """
    every = list(read_records(records_file))
    records = measure.select(every, measure.Settings(split=settings.split))
    with opened(rater, checkpoint, context=settings.context, threads=settings.threads) as rater:
        found = sync_readings(rater, records, records_file.parent, settings)
    return machine.describe() | {
        "checkpoint": rater.card.name,
        "fingerprint": rater.fingerprint,
        "records": records_file.name,
        "split": settings.split,
        "clips": {name: len(readings) for name, readings in found.sets.items()},
        "contents": {name: len({p for r in rs for p in r.group.split("+")}) for name, rs in found.sets.items()},
        "untimed": found.untimed,
        "criterion": settings.criterion,
        "language": settings.language or rater.card.languages[0],
        "rows": sync_rows(found),
        "failed": found.failed,
    }, found


def sync_rows(found: Readings) -> list[Row]:
    """Every table of every set, "set" tells which."""
    return [{"set": name} | row for name, readings in found.sets.items() if readings for row in sync_tables(readings)]


def sync_readings(rater: Rater, records: Sequence[Record], base: Path, settings: Settings) -> Readings:
    """What the checkpoint says of every clip of known timing. base: folder that media paths start from.

    Raises ConfigError when there is no such clip.
    """
    language = settings.language or rater.card.languages[0]
    truths = {r.id: t for r in records if (t := truth_of(r)) is not None}
    timed = [r for r in records if r.id in truths]
    if not timed:
        raise ConfigError(f"none of {len(records)} records has a label or a fault of sync (RECORDS, --split)")
    chosen = timed if settings.limit is None else measure.spread(timed, settings.limit)
    judge, failed = Judge(rater), dict[str, str]()
    out: list[Reading] = []
    for chunk in chunks(chosen, base, rater, CHUNK, failed):
        for clip in chunk:
            out.append(read(judge, clip, truths[clip.record.id], language, settings.criterion))
        judge.forget()
    calm = [r for r in chosen if truths[r.id].kind == "in_step" and r.id not in failed]
    calm.sort(key=lambda r: not truths[r.id].clean)  # stable: those without any fault first
    best = [r for r in calm if truths[r.id].clean] or calm
    grid = _grid(judge, measure.spread(best, settings.grid), base, language, settings, failed) if settings.grid else []
    return Readings({"records": out, "grid": grid}, failed, len(records) - len(timed))


def _grid(
    judge: Judge, records: Sequence[Record], base: Path, language: str, settings: Settings, failed: dict[str, str]
) -> list[Reading]:
    out: list[Reading] = []
    for n, record in enumerate(records, 1):
        for ms in (0, *GRID):
            truth = Truth("early" if ms < 0 else "late" if ms else "in_step", float(ms), clean=not record.distortions)
            moved = cast("MediaReader", ShiftedReader(judge.rater.reader, float(ms)))
            try:
                clip = prepare_record(record, base, judge.rater, moved)
            except AvqaError as e:
                failed[f"{record.id}, {ms} ms"] = f"{e.kind}: {told(e, base, record.media)}"
                continue
            reading = read(judge, clip, truth, language, settings.criterion)
            out.append(replace(reading, clip=f"{record.id}, {ms} ms"))
            judge.forget()
        log.info("grid: %d of %d clips", n, len(records))
    return out
