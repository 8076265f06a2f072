"""Scores many clips into one file: streamed, resumable, interruptible."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import FrameType

from mllm_avqa.batch.codecs import Cells
from mllm_avqa.batch.inputs import check_inputs, expand
from mllm_avqa.batch.outputs import check_output, finish, open_rows
from mllm_avqa.batch.rowfile import RowFile
from mllm_avqa.batch.rows import fingerprint_text, plain
from mllm_avqa.batch.work import How, Job, Load, rate_jobs, start_worker, worker_fingerprint, worker_rates
from mllm_avqa.schema.errors import AvqaError, ConfigError, MediaNotFound

_CHUNKS = 8  # batches hashed ahead of the rater, so that its reading can overlap its computing


@dataclass(frozen=True)
class BatchOptions:
    """What `mllm-avqa score` was asked for; a sentence per flag is in its help."""

    output: Path
    inputs: Sequence[str] = ()
    manifest: Path | None = None
    batch_size: int = 4
    workers: int = 1
    explain: bool = False
    fresh: bool = False
    full: bool = False
    settings: dict[str, str] = field(default_factory=dict)  # what else changes a row: context, language, reader ...


@dataclass
class BatchResult:
    rated: int = 0
    failed: int = 0
    current: int = 0  # already in the output
    stopped: bool = False  # by Ctrl-C or SIGTERM; run the same command again to continue


Tick = Callable[[str], None]  # called with "rated", "failed" or "current" once per clip


def check_options(options: BatchOptions) -> None:
    """Raises ConfigError or OutputError for options that can not work, before a model is loaded."""
    for name, value in (("--batch-size", options.batch_size), ("--workers", options.workers)):
        if value < 1:
            raise ConfigError(f"{name} {value}: must be 1 or more")
    check_output(options.output, full=options.full)
    check_inputs(options.inputs, options.manifest)


def run_batch(load: Load, options: BatchOptions, tick: Tick = lambda _: None) -> BatchResult:
    """Rate every clip that has no current row yet; each row is on disk before the next clip is finished.

    Memory does not grow with the number of clips, but for a 16-byte key or two per row. Raises ConfigError and
    OutputError (see `check_options`, RowFile); a clip that can not be rated is a row with status `error`.
    """
    check_options(options)
    result = BatchResult()

    def write(rows: RowFile, cells: Cells, stop: threading.Event) -> None:
        failed = cells["status"] == "error"
        if failed and stop.is_set():
            return  # the signal may have hit the process that read the clip: not the clip's fault
        rows.append(cells)
        result.failed += failed
        result.rated += not failed
        tick("failed" if failed else "rated")

    with _stop_on_signal() as stop, _rating(load, options, stop) as (fingerprint, rate):
        how = How(options.batch_size, options.explain, options.full, fingerprint)
        with open_rows(options.output, fingerprint, fresh=options.fresh) as rows:
            jobs = _pending(rows, options, result, tick, stop)
            for cells in rate(jobs, how):
                write(rows, cells, stop)
            result.stopped = stop.is_set()
            if not result.stopped:
                finish(options.output, rows)
    return result


def _pending(
    rows: RowFile, options: BatchOptions, result: BatchResult, tick: Tick, stop: threading.Event
) -> Iterator[Job]:
    """Clips without a current row, each once however often it is listed."""
    from mllm_avqa.media import content_hash

    seen: set[int] = set()
    for item in expand(options.inputs, options.manifest):
        if stop.is_set():
            return
        identity = hash((item.file, item.user_text))
        if identity in seen:
            result.current += 1
            tick("current")
            continue
        seen.add(identity)
        try:
            job = Job(item, content_hash(item.file))
        except AvqaError as e:
            job = Job(item, "", e)
        except OSError as e:  # a disk or network share that fails while it is read
            job = Job(item, "", MediaNotFound(f"{plain(item.file)}: can not be read: {e.strerror}"))
        if job.error is None and rows.is_current(item, job.content_hash):
            result.current += 1
            tick("current")
        else:
            yield job


Rate = Callable[[Iterator[Job], How], Iterator[Cells]]


@contextmanager
def _rating(load: Load, options: BatchOptions, stop: threading.Event) -> Iterator[tuple[str, Rate]]:
    """The fingerprint of the rows and the function that turns jobs into rows, in order."""
    if options.workers == 1:
        rater = load()

        def here(jobs: Iterator[Job], how: How) -> Iterator[Cells]:
            for chunk in _chunks(jobs, options.batch_size * _CHUNKS):
                for cells in rate_jobs(rater, chunk, how):
                    yield cells
                    if stop.is_set():
                        return

        with closing(rater):
            yield _fingerprint(rater.fingerprint, options), here
        return
    # spawn: a forked child of a process with running torch or FFmpeg threads can deadlock
    pool = ProcessPoolExecutor(options.workers, get_context("spawn"), initializer=start_worker, initargs=(load,))
    try:
        yield (
            _fingerprint(pool.submit(worker_fingerprint).result(), options),
            lambda jobs, how: _in_pool(pool, jobs, how, options, stop),
        )
    except BrokenProcessPool as e:
        raise AvqaError(
            "a worker process died (out of memory? fewer --workers); run the same command to continue"
        ) from e
    finally:
        pool.shutdown(cancel_futures=True)


def _in_pool(
    pool: ProcessPoolExecutor, jobs: Iterator[Job], how: How, options: BatchOptions, stop: threading.Event
) -> Iterator[Cells]:
    running: deque[Future[list[Cells]]] = deque()
    for chunk in _chunks(jobs, options.batch_size):
        running.append(pool.submit(worker_rates, chunk, how))
        if len(running) > 2 * options.workers:
            yield from running.popleft().result()
        if stop.is_set():
            break
    for future in running:  # after a stop signal, what has begun is finished and kept
        if not (stop.is_set() and future.cancel()):
            yield from future.result()


def _chunks(jobs: Iterator[Job], size: int) -> Iterator[list[Job]]:
    chunk: list[Job] = []
    for job in jobs:
        chunk.append(job)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _fingerprint(rater: dict[str, str], options: BatchOptions) -> str:
    parts = {**rater, **options.settings, "explain": "yes" if options.explain else "no"}
    if options.full:
        parts["full"] = "yes"
    return fingerprint_text({k: "_".join(v.split()) for k, v in parts.items()})


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Set on the first Ctrl-C or SIGTERM; a second one raises KeyboardInterrupt. Only the main thread gets them."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    old = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)
