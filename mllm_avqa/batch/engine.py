"""Scores many clips into one file: streamed, resumable, interruptible."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import BinaryIO

from mllm_avqa.batch.gates import Gate
from mllm_avqa.batch.inputs import Shard, check_inputs, expand, in_shard
from mllm_avqa.batch.journal import Cells
from mllm_avqa.batch.manifests import OURS, Item, Key, ManifestColumns, numbered
from mllm_avqa.batch.outputs import Rows, check_output, open_rows
from mllm_avqa.batch.rows import fingerprint_of
from mllm_avqa.batch.seconds import ClipSeconds
from mllm_avqa.batch.stopping import Stop, stop_on_signal
from mllm_avqa.batch.work import (
    How,
    Job,
    Load,
    cells_of,
    job_of,
    rate_jobs,
    start_worker,
    worker_fingerprint,
    worker_rates,
)
from mllm_avqa.report.timeline import check_timeline
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import AvqaError, ConfigError, InternalError, OutputError
from mllm_avqa.schema.plain import plain

log = logging.getLogger(__name__)
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
    columns: ManifestColumns = field(default_factory=ManifestColumns)
    gate: Gate = field(default_factory=Gate)
    findings: bool = False
    shard: Shard | None = None  # of how many equal parts of the clips which one
    settings: dict[str, str] = field(default_factory=dict)  # what else changes a row: context, language, reader ...
    limits: Limits = field(default_factory=Limits)  # of hashing; those of decoding are the rater's
    stdout: BinaryIO | None = None  # where `-o -` writes
    timeline: Path | None = None  # where the seconds of all clips go


@dataclass
class BatchResult:
    rated: int = 0
    failed: int = 0
    current: int = 0  # already in the output
    stopped: bool = False  # by Ctrl-C or SIGTERM; run the same command again to continue
    signum: int = 0  # which of them
    gated: list[tuple[str, str]] = field(default_factory=list)  # clips that do not pass the gate, and why


Tick = Callable[[str], None]  # called with "rated", "failed", "current" or "elsewhere" (another shard's) once per clip


def check_options(options: BatchOptions) -> None:
    """Raises ConfigError or OutputError for options that can not work, before a model is loaded."""
    for name, value in (("--batch-size", options.batch_size), ("--workers", options.workers)):
        if value < 1:
            raise ConfigError(f"{name} {value}: must be 1 or more")
    check_output(options.output, full=options.full)
    if options.timeline is not None:
        check_timeline(options.timeline)
        if options.timeline.absolute() == options.output.absolute():
            raise OutputError(
                f"--timeline {options.timeline} is the -o of this run too: seconds need a file of their own"
            )
    check_inputs(options.inputs, options.manifest)
    options.gate.check()


def run_batch(load: Load, options: BatchOptions, tick: Tick = lambda _: None) -> BatchResult:
    """Rate every clip that has no current row yet; each row is on disk before the next clip is finished.

    Memory does not grow with the number of clips, but for a 16-byte key or two per row. Raises ConfigError and
    OutputError (see `check_options`, Journal); a clip that can not be rated is a row with status `error`.
    """
    check_options(options)
    result = BatchResult()

    with stop_on_signal() as stop, _rating(load, options, stop) as (fingerprint, rate):
        how = How(
            options.batch_size, options.explain, options.full, fingerprint, options.gate, _finds(options),
            options.timeline is not None,
        )  # fmt: skip
        with (
            open_rows(
                options.output, fingerprint, fresh=options.fresh, stdout=options.stdout, gate=options.gate
            ) as rows,
            _seconds(options) as seconds,
        ):
            desk = _Desk(rows, seconds, options, result, tick, stop)
            for cells in rate(desk.pending(), how):
                desk.write(cells)
            rows.tidy = not stop.is_set()
        result.stopped, result.signum = stop.is_set(), stop.signum
    return result


def _seconds(options: BatchOptions) -> AbstractContextManager[ClipSeconds | None]:
    return closing(ClipSeconds(options.timeline, fresh=options.fresh)) if options.timeline else nullcontext()


@dataclass
class _Desk:
    """Hands out the clips without a current row, and writes down what comes back: a row for every listed clip.

    Lines of a manifest that list the same clip are rated once: the later ones wait for the first.
    """

    rows: Rows
    seconds: ClipSeconds | None
    options: BatchOptions
    result: BatchResult
    tick: Tick
    stop: Stop
    waiting: dict[Key, list[Item]] = field(default_factory=dict)  # by clip: lines that get a copy of its row
    again: set[int] = field(default_factory=set)  # hashes of clips that are listed more than once
    told: dict[Key, Cells] = field(default_factory=dict)  # their rows

    def __post_init__(self) -> None:
        if self.options.manifest is not None:
            once: set[int] = set()
            for item in expand(self.options.inputs, self.options.manifest, columns=self.options.columns):
                (self.again if hash(item.same_clip) in once else once).add(hash(item.same_clip))

    def write(self, cells: Cells) -> None:
        failed = cells["status"] == "error"
        if failed and self.stop.is_set():
            return  # the signal may have hit the process that read the clip: not the clip's fault
        told = cells
        cells = {name: value for name, value in told.items() if name != "timeline"}
        if self.seconds is not None and not failed:  # before its row: a row without seconds would stay without
            self.seconds.append(cells, told["timeline"])
        self.rows.append(cells)
        self.result.failed += failed
        self.result.rated += not failed
        self._gate(cells["path"], cells["gate"])
        self.tick("failed" if failed else "rated")
        clip = (cells["file"], cells["user_text"], None, cells["start"], cells["end"], None)
        if hash(clip) in self.again:
            self.told[clip] = told
            for item in self.waiting.pop(clip, ()):
                self._copy(told, item)

    def pending(self) -> Iterator[Job]:
        """Clips to rate, each once however often it is listed."""
        for item in numbered(expand(self.options.inputs, self.options.manifest, columns=self.options.columns)):
            if self.stop.is_set():
                return
            if item is None:
                self.result.current += 1
                self.tick("current")
                continue
            job = job_of(item, self.options.limits, self.stop.is_set)
            if self.stop.is_set():
                return
            if self.options.shard and not in_shard(job.content_hash or str(item.file), self.options.shard):
                self.tick("elsewhere")
            elif job.error is None and self.rows.is_current(item, job.content_hash) and self._timed(item):
                self.result.current += 1
                self._gate(item.listed, self.rows.reason(item))
                self.tick("current")
            elif item.error is None and item.same_clip in self.told:
                self._copy(self.told[item.same_clip], item)
            elif item.error is None and item.same_clip in self.waiting:
                self.waiting[item.same_clip].append(item)
            else:
                if item.error is None and hash(item.same_clip) in self.again:
                    self.waiting[item.same_clip] = []
                yield job

    def _timed(self, item: Item) -> bool:
        return self.seconds is None or self.seconds.has(item)

    def _copy(self, cells: Cells, item: Item) -> None:
        own = {name: value for name, value in cells.items() if name in OURS}
        self.write({**own, "path": item.listed, "id": item.id, "repeat": item.repeat, **item.carried})

    def _gate(self, path: str, reason: str | None) -> None:
        if reason:
            self.result.gated.append((path, reason))


Rate = Callable[[Iterator[Job], How], Iterator[Cells]]


@contextmanager
def _rating(load: Load, options: BatchOptions, stop: Stop) -> Iterator[tuple[str, Rate]]:
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
            yield fingerprint_of(rater.fingerprint, _settings(options), options.explain, options.full), here
        return
    with closing(_Pool(load, options)) as pool:
        try:
            told = pool.running.submit(worker_fingerprint).result()
            fingerprint = fingerprint_of(told, _settings(options), options.explain, options.full)
        except BrokenProcessPool as e:
            raise AvqaError("a worker process died while it loaded the model (out of memory? fewer --workers)") from e
        yield fingerprint, lambda jobs, how: pool.rate(jobs, how, stop)


class _Pool:
    """Worker processes; when one dies, others take over and its clips are tried again, each alone."""

    def __init__(self, load: Load, options: BatchOptions) -> None:
        self.load, self.options = load, options
        self.others = set(active_children())  # processes that are not this pool's
        self.running = self._new()

    def rate(self, jobs: Iterator[Job], how: How, stop: Stop) -> Iterator[Cells]:
        begun: deque[tuple[list[Job], Future[list[Cells]]]] = deque()
        for chunk in chain(_chunks(jobs, self.options.batch_size), [None]):
            if chunk is not None:
                begun.append((chunk, self._submit(chunk, how)))
            while begun and (chunk is None or stop.is_set() or len(begun) > 2 * self.options.workers):
                oldest, future = begun.popleft()
                if stop.is_set() and future.cancel():
                    continue  # what has begun is finished and kept
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    lost = [oldest, *(c for c, f in begun if not f.done() or f.exception())]
                    begun = deque((c, f) for c, f in begun if f.done() and not f.exception())
                    yield from self._one_by_one(lost, how, stop)
            if stop.is_set():
                return

    def close(self) -> None:
        self.running.shutdown(cancel_futures=True)

    def _one_by_one(self, lost: list[list[Job]], how: How, stop: Stop) -> Iterator[Cells]:
        log.warning("a worker process died; its clips are rated again, one at a time")
        self._renew()
        for job in (j for chunk in lost for j in chunk):
            if stop.is_set():
                return
            try:
                yield from self._submit([job], how).result()
            except BrokenProcessPool:
                self._renew()
                died = InternalError(f"{plain(job.item.file)}: the process that rated it died (too little memory?)")
                yield cells_of(job, died, how)

    def _submit(self, jobs: list[Job], how: How) -> Future[list[Cells]]:
        try:
            return self.running.submit(worker_rates, jobs, how)
        except BrokenProcessPool as e:  # noticed before an older result was fetched
            failed: Future[list[Cells]] = Future()
            failed.set_exception(e)
            return failed

    def _renew(self) -> None:
        # A worker minds no SIGTERM, and the one that died may have held the lock of their queue: the others would
        # wait for ever, and so would who joins them.
        for process in set(active_children()) - self.others:
            process.kill()
        self.close()
        self.running = self._new()

    def _new(self) -> ProcessPoolExecutor:
        # spawn: a forked child of a process with running torch or FFmpeg threads can deadlock
        return ProcessPoolExecutor(
            self.options.workers, get_context("spawn"), initializer=start_worker, initargs=(self.load,)
        )


def _chunks(jobs: Iterator[Job], size: int) -> Iterator[list[Job]]:
    chunk: list[Job] = []
    for job in jobs:
        chunk.append(job)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _finds(options: BatchOptions) -> bool:
    """Faults are looked for without explanations too."""
    return not options.explain and (options.findings or options.gate.asks_the_model)


def _settings(options: BatchOptions) -> dict[str, str]:
    return {**options.settings, "findings": "yes"} if _finds(options) else options.settings
