"""Run a recipe: plan all clips, build the missing ones in worker processes, write records.jsonl and the audit."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from data_recipes.synthesis.audit import RECORDS, Made, audit, digest, read_sidecar, write_made
from data_recipes.synthesis.plan import Plan, Planner, mended, picture_order
from data_recipes.synthesis.pseudo_mos import model_name
from data_recipes.synthesis.recipe import Recipe, load_recipe, load_transcripts
from data_recipes.synthesis.sources import Inventory, Source, find_sources
from mllm_avqa.schema.errors import AvqaError, ConfigError, OutputError
from mllm_avqa.schema.records import Record, write_records
from mllm_avqa.schema.workers import one_thread

log = logging.getLogger(__name__)
# Of worker processes. One thread each. glibc keeps memory that was freed: clips of some 100 MB are allocated and freed
# all the time, and fetching cleared pages for each again costs a quarter of the time (an eighth more memory is held).
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
CHUNK = 16  # clips sent to a worker at once: plans of the same picture stay together and share its decoding


@dataclass
class Synthesis:
    """What a run did."""

    records: list[Record]
    failures: list[tuple[int, str]]  # clip number, why
    made: int
    kept: int
    seconds: float
    inventory: Inventory
    numbers: dict[str, Any] = field(default_factory=dict)  # see audit.audit; digest, see finished.digest


def synthesise(
    recipe_path: str | Path,
    out: str | Path,
    clips: int | None = None,
    workers: int | None = 1,
    seed: int | None = None,
    folders: Sequence[str | Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Make the clips of a recipe under `out` and write `out`/records.jsonl and `out`/set.json.

    clips, seed: instead of the recipe's. workers: processes, None for one per core that this process may use; the
    result does not depend on them.
    progress: called with (finished, all) after every chunk.

    Finished clips whose plan and sources are unchanged are kept, others are made again. A clip that fails is listed in
    the outcome and in `out`/failures.jsonl, the others go on. Raises ConfigError for the recipe, the sources or the
    arguments, OutputError when `out` cannot be written.
    """
    recipe = load_recipe(recipe_path)
    clips = recipe.clips if clips is None else clips
    if clips < 1:
        raise ConfigError(f"{clips} clips cannot be made; allowed: 1 and above (--clips)")
    workers = cores() if workers is None else workers
    if workers < 1:
        raise ConfigError(f"{workers} workers cannot work; allowed: 1 and above (--workers)")
    _check_kinds(recipe)
    out = Path(out)
    try:
        (out / "clips").mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"cannot write to {out}: {e} (-o)") from e
    inventory = find_sources(recipe, folders, load_transcripts(recipe, recipe_path))
    planner = Planner(recipe, inventory)
    plans = [planner.plan(i, recipe.seed if seed is None else seed) for i in range(clips)]
    plans += mended(plans) if recipe.mended else []
    clips = len(plans)
    todo = [p for p in plans if not _finished(p, recipe, planner.files, out)]
    kept, began, failures, done = clips - len(todo), time.monotonic(), [], clips - len(todo)
    for finished, failed in _run(todo, recipe, planner.files, out, workers):
        failures += failed
        done += finished + len(failed)
        if progress is not None:
            progress(done, clips)
    records, families, ceilings, failures = _collect(plans, out, sorted(failures))
    write_records(out / RECORDS, records)
    _write_failures(out / "failures.jsonl", failures)
    total = digest(out, records)
    write_made(
        out,
        Made(
            recipe=str(recipe_path),
            seed=recipe.seed if seed is None else seed,
            sources=[str(f) for f in folders],
            labels=model_name(recipe.labels),
            digest=total,
        ),
    )
    numbers = {"digest": total, "pseudo_mos": model_name(recipe.labels)}
    numbers |= audit(records, families, ceilings)
    made = len(todo) - len(failures)
    return Synthesis(records, failures, made, kept, time.monotonic() - began, inventory, numbers)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_kinds(recipe: Recipe) -> None:
    from data_recipes.distortions import get, kinds

    for kind in recipe.kinds:
        get(kind)
    if recipe.labels != "dose":
        from data_recipes.synthesis.measures import check_installed

        check_installed(k.kind for k in kinds() if recipe.kinds.get(k.kind, 1.0) > 0)


def _finished(plan: Plan, recipe: Recipe, files: dict[str, Source], out: Path) -> bool:
    row = read_sidecar(out, plan.index)
    if row is None or row["key"] != plan.key(recipe, files):
        return False
    clip = out / row["record"]["media"]
    return clip.is_file() and bool(clip.stat().st_size == row["bytes"])


def _chunks(plans: list[Plan], workers: int) -> list[list[Plan]]:
    """Plans in order of their picture, cut into chunks; small enough that every worker gets some."""
    ordered = sorted(plans, key=picture_order)
    size = max(1, min(CHUNK, -(-len(ordered) // (2 * workers))))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _run(
    plans: list[Plan], recipe: Recipe, files: dict[str, Source], out: Path, workers: int
) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Build all plans; yields (number made, failures) per chunk."""
    chunks = _chunks(plans, workers)
    if workers == 1 or len(chunks) < 2:
        _start_worker(recipe, files, out)
        for chunk in chunks:
            yield _work(chunk)
        return
    with (
        worker_environment(),
        ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (recipe, files, out)) as pool,
    ):
        waiting: dict[Future[tuple[int, list[tuple[int, str]]]], list[Plan]] = {}
        for chunk in chunks:
            waiting[pool.submit(_work, chunk)] = chunk
        while waiting:
            ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                chunk = waiting.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    # Which clip brought the worker down is not known; the sidecars say which ones were finished.
                    lost = [p for p in chunk if not _finished(p, recipe, files, out)]
                    why = "a worker process died (memory?); run again to go on, with fewer --workers if it repeats"
                    yield len(chunk) - len(lost), [(p.index, why) for p in lost]


@contextmanager
def worker_environment() -> Iterator[None]:
    """While it lasts, spawned children get WORKER_ENVIRONMENT; they read it before they load anything."""
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_worker: dict[str, Any] = {}  # the builder of this process


def _start_worker(recipe: Recipe, files: dict[str, Source], out: Path) -> None:
    from data_recipes.synthesis.build import Builder

    one_thread()
    _worker["builder"] = Builder(recipe, files, out)


def _work(plans: list[Plan]) -> tuple[int, list[tuple[int, str]]]:
    import cv2
    from av.error import FFmpegError

    failures = []
    for plan in plans:
        try:
            _worker["builder"].build(plan)
        except (AvqaError, FFmpegError, cv2.error, OSError, ValueError) as e:
            failures.append((plan.index, f"{type(e).__name__}: {e}"))
    return len(plans) - len(failures), failures


def _collect(
    plans: list[Plan], out: Path, failures: list[tuple[int, str]]
) -> tuple[list[Record], dict[str, str], dict[str, dict[str, float]], list[tuple[int, str]]]:
    """Records of all clips that exist, in order, their families and ceilings, and failures.

    A clip that neither exists nor failed is a failure.
    """
    records, families, ceilings, bad = [], {}, {}, dict(failures)
    for plan in plans:
        row = None if plan.index in bad else read_sidecar(out, plan.index)
        if row is None:
            bad.setdefault(plan.index, "its sidecar file is missing or damaged")
            continue
        record = Record.model_validate(row["record"])
        records.append(record)
        families[record.id], ceilings[record.id] = row["family"], row["ceilings"]
    return records, families, ceilings, sorted(bad.items())


def _write_failures(path: Path, failures: list[tuple[int, str]]) -> None:
    if not failures:
        path.unlink(missing_ok=True)
        return
    path.write_text("".join(json.dumps({"clip": i, "why": w}) + "\n" for i, w in failures), encoding="utf-8")
