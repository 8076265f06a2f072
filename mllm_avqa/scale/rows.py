"""Rows of any table are rated in whatever process holds them: of Ray, Spark, Dask, or a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mllm_avqa.batch.gates import Gate
from mllm_avqa.batch.journal import Cells
from mllm_avqa.batch.manifests import ManifestColumns, items_of
from mllm_avqa.batch.rows import fingerprint_of
from mllm_avqa.batch.work import BatchRater, How, Job, Load, job_of, rate_jobs
from mllm_avqa.schema.clip import Limits


@dataclass(frozen=True)
class RowSettings:
    """What rows are asked for. base: folder that relative paths start from; full: the nested rating in every row."""

    columns: ManifestColumns = field(default_factory=ManifestColumns)
    base: Path = Path()
    batch_size: int = 4
    explain: bool = False
    full: bool = False
    findings: bool = False  # faults are looked for without explanations too
    gate: Gate = field(default_factory=Gate)
    limits: Limits = field(default_factory=Limits)  # of hashing; those of decoding are the rater's
    told: Mapping[str, str] = field(default_factory=dict)  # what else changes a row, for its fingerprint

    def how(self, rater: BatchRater) -> How:
        found = not self.explain and (self.findings or self.gate.asks_the_model)
        told = {**self.told, "findings": "yes"} if found else self.told
        mark = fingerprint_of(rater.fingerprint, told, self.explain, self.full)
        return How(self.batch_size, self.explain, self.full, mark, self.gate, found)


def rate_rows(rows: Iterable[Mapping[str, Any]], load: Load, settings: RowSettings | None = None) -> Iterator[Cells]:
    """A row of `score` for each row with a path; the other columns are carried. A clip that fails is an error row.

    load: opens the rater, once in a process; equal functions share it. Raises ConfigError for rows without a path.
    """
    settings, rater = settings or RowSettings(), opened(load)
    chunk: list[Job] = []
    for job in jobs_of(rows, settings):
        chunk.append(job)
        if len(chunk) == settings.batch_size:
            yield from rate_jobs(rater, chunk, settings.how(rater))
            chunk = []
    yield from rate_jobs(rater, chunk, settings.how(rater))


def jobs_of(rows: Iterable[Mapping[str, Any]], settings: RowSettings) -> Iterator[Job]:
    """The clips of rows, their bytes hashed."""
    base = settings.base.absolute()
    for item in items_of(Path("rows"), base, settings.columns, enumerate(rows, 1)):
        yield job_of(item, settings.limits)


@lru_cache(maxsize=1)
def opened(load: Callable[[], BatchRater]) -> BatchRater:
    """The rater of this process."""
    return load()
