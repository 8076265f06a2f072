"""All probes of robustness in one pass over held-out clips."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import machine, measure
from eval.held_out import Judge, chunks, opened
from eval.robustness.batches import SIZE, Batches
from eval.robustness.change import Row
from eval.robustness.injection import Injection
from eval.robustness.shuffles import Shuffles
from eval.robustness.signal import SamePicture
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record, read_records

log = logging.getLogger(__name__)
PROBES = ("injection", "signal", "batch", "options")


@dataclass(frozen=True)
class Settings:
    """`clips`: at most this many, evenly spread. Files, batches and runs are compared under the first language."""

    split: str = "test"
    clips: int | None = 24
    languages: tuple[str, ...] = ()  # empty = those of the card
    context: str = "fast"
    every_door: bool = False
    probes: tuple[str, ...] = PROBES
    threads: int | None = None


def robustness(
    records_file: Path, checkpoint: str, settings: Settings, *, rater: Rater | None = None
) -> dict[str, Any]:
    """Rows and where they come from. rater: the checkpoint's, open already, with the context of the settings.

    Raises ConfigError (split, probe) and CheckpointError.
    """
    every = list(read_records(records_file))
    records = measure.select(every, measure.Settings(split=settings.split, limit=settings.clips))
    _check(settings.probes)
    with opened(rater, checkpoint, context=settings.context, threads=settings.threads) as rater:
        rows, failures = robustness_rows(rater, records, records_file.parent, settings)
    return machine.describe() | {
        "checkpoint": rater.card.name,
        "fingerprint": rater.fingerprint,
        "isolate": rater.card.isolate,
        "records": records_file.name,
        "split": settings.split,
        "clips": len(records),
        "context": settings.context,
        "rows": rows,
        "failed": failures,
    }


def robustness_rows(
    rater: Rater, records: Sequence[Record], base: Path, settings: Settings
) -> tuple[list[Row], dict[str, str]]:
    """Rows of every probe (key "probe" tells which), and what failed: clip, or clip and change, -> why.

    base: folder that media paths start from. A clip that cannot be read is in none of the rows.
    """
    _check(settings.probes)
    languages = settings.languages or tuple(rater.card.languages)
    judge, failures = Judge(rater), dict[str, str]()
    injection, files = Injection(languages, settings.every_door), SamePicture()
    batches, shuffles = Batches(), Shuffles()
    for chunk in chunks(records, base, rater, SIZE, failures):
        if "batch" in settings.probes and chunk:
            batches.add(judge, chunk, base, languages[0])
        for clip in chunk:
            if "injection" in settings.probes:
                injection.add(judge, clip)
            if "signal" in settings.probes:
                files.add(judge, clip, base, languages[0])
            if "options" in settings.probes:
                for language in languages:
                    shuffles.add(judge, clip, language)
            judge.forget()
    made = {"injection": injection.rows, "signal": files.rows, "batch": batches.rows, "options": shuffles.rows}
    rows = [row for name in PROBES if name in settings.probes for row in made[name]()]
    return rows, failures | files.failures | batches.failures


def _check(probes: Collection[str]) -> None:
    unknown = [p for p in probes if p not in PROBES]
    if unknown:
        raise ConfigError(f"probe {unknown[0]!r} does not exist; allowed: {', '.join(PROBES)} (--probe)")
