"""Prepared windows of training clips on disk: decoding, evidence and context are done once, not every epoch.

A cache file belongs to one clip, one view spec and the code that made it; when any of them changes it is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.files import WINDOW_CODE, code_hash, whole_file
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Record
from mllm_avqa.schema.text import TextContext
from mllm_avqa.schema.workers import one_thread

log = logging.getLogger(__name__)


@dataclass
class CachedWindow:
    views: Views
    evidence: list[Measurement]
    context: TextContext
    missing: dict[str, str]


def cache_path(root: Path, record: Record, media: Path, spec: ViewSpec, context: str) -> Path:
    stat = media.stat()
    code = code_hash(*WINDOW_CODE, __name__)  # other views, facts or thresholds: other windows
    told = [record.context, record.start, record.end, spec.model_dump(), context]
    given = json.dumps([*told, stat.st_size, stat.st_mtime_ns, code], default=str)
    return root / f"{record.id}-{hashlib.sha256(given.encode()).hexdigest()[:12]}.npz"


def store(path: Path, window: CachedWindow) -> None:
    arrays: dict[str, Any] = {}
    if window.views.whole is not None and window.views.fragments is not None:
        arrays |= {"whole": window.views.whole, "fragments": window.views.fragments}
    if window.views.sound is not None:
        arrays["sound"] = window.views.sound.astype(np.float32)
    text = {
        "pair": window.views.seconds_per_pair,
        "evidence": [m.model_dump() for m in window.evidence],
        "context": window.context.model_dump(),
        "missing": window.missing,
    }
    arrays["text"] = np.frombuffer(json.dumps(text).encode(), np.uint8)
    with whole_file(path) as part, part.open("wb") as f:
        np.savez(f, **arrays)


def load(path: Path) -> CachedWindow:
    with np.load(path) as z:
        text = json.loads(z["text"].tobytes())
        views = Views(
            whole=z.get("whole"),
            fragments=z.get("fragments"),
            sound=z.get("sound"),
            seconds_per_pair=text["pair"],
        )
    return CachedWindow(
        views,
        [Measurement.model_validate(m) for m in text["evidence"]],
        TextContext.model_validate(text["context"]),
        text["missing"],
    )


@cache
def _reader() -> Any:
    from mllm_avqa.media import MediaReader

    return MediaReader()


def _make(job: tuple[Record, Path, Path, ViewSpec, str]) -> tuple[str, str | None]:
    from mllm_avqa.windows import record_windows

    record, base, target, spec, context = job
    try:
        p = next(record_windows(record, base, _reader(), spec, context=context))
    except AvqaError as e:
        return record.id, f"{type(e).__name__}: {e}"
    store(target, CachedWindow(p.views, p.evidence, p.context, p.missing))
    return record.id, None


def build(
    records: Iterable[Record], base: Path, root: Path, spec: ViewSpec, *, context: str = "fast", workers: int = 1
) -> tuple[dict[str, Path], dict[str, str]]:
    """Make what is missing. Returns (cache path by record id, error by record id); media are relative to `base`."""
    root.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    errors: dict[str, str] = {}
    jobs = []
    for r in records:
        media = base / r.media
        if not media.is_file():
            errors[r.id] = f"media file {media} does not exist"
            continue
        paths[r.id] = cache_path(root, r, media, spec, context)
        if not paths[r.id].is_file():
            own = r.model_copy(update={"questions": [], "labels": {}})  # what is asked of it need not travel
            jobs.append((own, base, paths[r.id], spec, context))
    if jobs:
        log.info("preparing %d clips (%d already there)", len(jobs), len(paths) - len(jobs))
        with multiprocessing.get_context("spawn").Pool(workers, initializer=one_thread) as pool:
            for n, (record_id, error) in enumerate(pool.imap_unordered(_make, jobs, chunksize=4), 1):
                if error:
                    errors[record_id] = error
                    paths.pop(record_id)
                if n % 100 == 0:
                    log.info("prepared %d of %d", n, len(jobs))
    return paths, errors
