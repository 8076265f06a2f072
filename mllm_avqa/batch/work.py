"""What rates a chunk of clips: in this process, or in one of several worker processes."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mllm_avqa.batch.gates import Gate
from mllm_avqa.batch.journal import Cells
from mllm_avqa.batch.manifests import Item
from mllm_avqa.batch.rows import error_row, rating_row
from mllm_avqa.schema.clip import WHOLE, Limits, Span
from mllm_avqa.schema.errors import AvqaError, CheckpointError, ConfigError, ContextUnavailable, MediaNotFound, typed
from mllm_avqa.schema.plain import plain
from mllm_avqa.schema.rating import Rating
from mllm_avqa.schema.workers import follow_parent

if TYPE_CHECKING:
    from mllm_avqa.rater import RatingFailure

log = logging.getLogger(__name__)
RUN_ERRORS = (ConfigError, CheckpointError, ContextUnavailable)  # raised, they are about the run and not about a clip


class BatchRater(Protocol):
    """The part of `Rater` a batch needs."""

    @property
    def fingerprint(self) -> dict[str, str]: ...

    def rate_many(
        self,
        paths: Iterable[Path],
        *,
        batch_size: int = 4,
        explain: bool = False,
        user_texts: Sequence[str | None] | None = None,
        spans: Sequence[Span] | None = None,
        findings: bool = False,
        digests: Sequence[str] | None = None,
    ) -> Iterator[Rating | RatingFailure]: ...

    def close(self) -> None: ...


Load = Callable[[], BatchRater]  # must be picklable when there are several workers


@dataclass(frozen=True)
class Job:
    """One clip to rate, its bytes already hashed; `error` when they could not be read."""

    item: Item
    content_hash: str
    error: AvqaError | None = None


@dataclass(frozen=True)
class How:
    """Settings every chunk of a batch shares."""

    batch_size: int
    explain: bool
    full: bool
    fingerprint: str
    gate: Gate = field(default_factory=Gate)
    findings: bool = False
    timeline: bool = False


def job_of(item: Item, limits: Limits, stopped: Callable[[], bool] = lambda: False) -> Job:
    """A clip with its bytes hashed, or with what is wrong with them."""
    from mllm_avqa.media import content_hash

    try:
        return Job(item, "" if item.error else content_hash(item.file, limits, stopped), item.error)
    except AvqaError as e:
        return Job(item, "", e)
    except OSError as e:  # a disk or network share that fails while it is read
        return Job(item, "", MediaNotFound(f"{plain(item.file)}: can not be read: {e.strerror}"))
    except Exception as e:
        return Job(item, "", typed(e))


def rate_jobs(rater: BatchRater, jobs: Sequence[Job], how: How) -> Iterator[Cells]:
    """One row per job, in order; rows come as soon as the rater gives them."""
    outcomes = _outcomes(rater, [j for j in jobs if j.error is None], how)
    for job in jobs:
        outcome = job.error or next(outcomes)
        try:
            yield cells_of(job, outcome, how)
        except ValueError as e:  # a rating that is no row: a score that is no number
            yield cells_of(job, typed(e), how)


def _outcomes(rater: BatchRater, jobs: Sequence[Job], how: How) -> Iterator[Rating | AvqaError]:
    """A rating or an error per job, whatever the rater raises: from there on every clip is rated by itself."""
    done = 0
    try:
        for outcome in _rated(rater, jobs, how) if jobs else ():
            done += 1
            yield outcome
    except RUN_ERRORS:
        raise
    except Exception as e:
        log.warning("rating several clips at once failed (%s), going on one by one", type(e).__name__)
    for job in jobs[done:]:
        try:
            yield next(_rated(rater, [job], how))
        except RUN_ERRORS:
            raise
        except Exception as e:
            yield typed(e)


def _rated(rater: BatchRater, jobs: Sequence[Job], how: How) -> Iterator[Rating | AvqaError]:
    spans = [(j.item.start or 0.0, j.item.end) for j in jobs]
    more: dict[str, Any] = {"spans": spans} if any(s != WHOLE for s in spans) else {}
    if how.findings:
        more["findings"] = True
    outcomes = rater.rate_many(
        [j.item.file for j in jobs],
        batch_size=how.batch_size,
        explain=how.explain,
        user_texts=[j.item.user_text for j in jobs],
        digests=[j.content_hash for j in jobs],
        **more,
    )
    return (o if isinstance(o, Rating) else o.error for o in outcomes)


def cells_of(job: Job, outcome: Rating | AvqaError, how: How) -> Cells:
    item = job.item
    who: dict[str, Any] = {
        **{name: getattr(item, name) for name in ("file", "user_text", "id", "start", "end", "repeat")},
        "path": item.listed,
        "content_hash": job.content_hash,
        "fingerprint": how.fingerprint,
    }
    row = error_row(outcome, **who) if isinstance(outcome, AvqaError) else rating_row(outcome, **who)
    cells = row.model_dump()
    cells["gate"] = how.gate.reasons(cells)
    if how.full:
        cells["rating"] = outcome.model_dump(mode="json") if isinstance(outcome, Rating) else None
    if how.timeline and isinstance(outcome, Rating):
        from mllm_avqa.report.timeline import timeline_rows

        cells["timeline"] = timeline_rows(outcome)
    return cells | dict(item.carried)


# --- worker processes: one rater each, kept for the life of the process

_load: list[Load] = []


def start_worker(load: Load) -> None:
    """Initialiser of a worker process. Ctrl-C is the parent's business; a worker never outlives its parent."""
    sys.stdout = sys.stderr  # what libraries print must not mix with the data of the parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    follow_parent()
    _load.append(load)


@cache
def _rater() -> BatchRater:
    return _load[0]()  # in the first task, not in the initialiser: its typed errors reach the parent


def worker_fingerprint() -> dict[str, str]:
    return _rater().fingerprint


def worker_rates(jobs: Sequence[Job], how: How) -> list[Cells]:
    return list(rate_jobs(_rater(), jobs, how))
