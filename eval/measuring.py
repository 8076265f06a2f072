"""Signal facts of the clips of a record file: from ratings, or measured once and kept on disk by content."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from eval.joining import Entry, join, record_entry
from eval.samples import Samples
from eval.store import MEASURING, Shelf, code
from eval.writing import told
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import AvqaError, ConfigError, MediaError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Record
from mllm_avqa.schema.workers import one_thread

log = logging.getLogger(__name__)
Facts = dict[str, list[Measurement]]  # by record id
Failures = dict[str, str]  # by record id, why there are none
_MEASUREMENTS = TypeAdapter(list[Measurement])
_TAIL = 0.05  # seconds by which the end of a span may miss the end of the file


# ---- from ratings ---------------------------------------------------------------------------------------------------


def from_ratings(records: Sequence[Record], path: Path) -> tuple[Facts, Failures]:
    """Facts out of ratings: lines of `mllm-avqa score --full` or of `mllm-avqa rate --json` written in one line.

    Clips are matched as in `eval.joining`. A record of a part of its file has no rating here: ratings are of whole
    files, as long as the rating says. Raises ConfigError with file and line for a line that holds no rating.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist (--ratings)")
    entries: list[Entry] = []
    rated: dict[int, tuple[list[Measurement], float | None]] = {}  # by id of the entry: facts, seconds of the file
    with path.open(encoding="utf-8-sig") as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            names, error, found, seconds = _rating(line, f"{path}:{number}")
            entries.append(Entry(None, names, {}, error=error))
            rated[id(entries[-1])] = found, seconds
    failures: Failures = {}
    out: Facts = {}
    for record, (_, entry) in zip(records, join(entries, [record_entry(r) for r in records]).pairs, strict=True):
        if entry is None:
            failures[record.id] = f"no rating in {path.name}"
        elif entry.error is not None:
            failures[record.id] = entry.error
        elif not _whole(record, rated[id(entry)][1]):
            failures[record.id] = "a part of a file, ratings are of whole files"
        else:
            out[record.id] = rated[id(entry)][0]
    return out, failures


def _whole(record: Record, seconds: float | None) -> bool:
    """Whether the record is of all of a file that is `seconds` long (None: unknown)."""
    ends = record.end is None or (seconds is not None and record.end >= seconds - _TAIL)
    return (record.start or 0.0) == 0.0 and ends


def _rating(line: str, where: str) -> tuple[list[str], str | None, list[Measurement], float | None]:
    """Names of the clip, what went wrong with it, its facts, the length of the file in seconds."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as e:
        raise ConfigError(f"{where}: not JSON: {e.msg} (--ratings)") from e
    if not isinstance(row, dict) or not ({"rating", "evidence"} & set(row)):
        raise ConfigError(f"{where}: no rating with its evidence: write it with `mllm-avqa score --full` (--ratings)")
    names = [str(row[c]) for c in ("path", "file") if row.get(c)]
    if row.get("status") == "error":
        return names, f"{row.get('error_kind')}: {row.get('error')}", [], None
    rating: Any = row.get("rating", row)
    try:
        return (
            names,
            None,
            _MEASUREMENTS.validate_python(rating["evidence"]),
            (rating.get("media") or {}).get("duration"),
        )
    except (TypeError, KeyError, ValidationError) as e:
        raise ConfigError(f"{where}: the rating has no readable evidence: {e} (--ratings)") from e


# ---- measured -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasureJob:
    """One clip to measure; target is its file in the cache."""

    media: str
    start: float | None
    end: float | None
    texts: dict[str, str]
    context: str
    spec: ViewSpec
    target: str


def measured(
    records: Sequence[Record],
    base: Path,
    folder: Path,
    *,
    context: str = "fast",
    workers: int = 1,
    spec: ViewSpec = ViewSpec(),
) -> tuple[Facts, Failures]:
    """Facts of every record, media relative to `base`; what `folder` holds of the same content is not measured again.

    A cache file belongs to the bytes of a clip (and of the subtitles beside it), its span, its text, the view spec and
    the code that measures. A clip that cannot be read is a failure and is tried again the next time.
    """
    shelf, samples = Shelf(folder, code(*MEASURING)), Samples()
    targets: dict[str, Path] = {}
    jobs: dict[str, MeasureJob] = {}  # by target: two records of the same content are measured once
    failures: Failures = {}
    for r in records:
        media = base / r.media
        try:
            target = shelf.path(samples.key(r, base, context), context, spec.model_dump())
        except MediaError as e:
            failures[r.id] = f"{e.kind}: {told(e, base, r.media)}"
            continue
        targets[r.id] = target
        if not target.is_file():
            jobs[str(target)] = MeasureJob(str(media), r.start, r.end, r.context, context, spec, str(target))
    broken = _run(list(jobs.values()), workers)
    out: Facts = {}
    for name, target in targets.items():
        if str(target) in broken:
            failures[name] = broken[str(target)].replace(f"{base}/", "")
        else:
            out[name] = _MEASUREMENTS.validate_json(target.read_bytes())
    return out, failures


def _run(jobs: list[MeasureJob], workers: int) -> dict[str, str]:
    """What went wrong, by target."""
    broken: dict[str, str] = {}
    if not jobs:
        return broken
    log.info("measuring %d clips", len(jobs))
    if workers == 1 or len(jobs) == 1:
        found = [measure_clip(j) for j in jobs]
    else:
        with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs)), initializer=one_thread) as pool:
            found = []
            for n, result in enumerate(pool.imap_unordered(measure_clip, jobs), 1):
                found.append(result)
                if n % 100 == 0:
                    log.info("measured %d of %d", n, len(jobs))
    for target, error in found:
        if error is not None:
            broken[target] = error
    return broken


@cache
def _reader() -> Any:
    from mllm_avqa.media import MediaReader

    return MediaReader()


def measure_clip(job: MeasureJob) -> tuple[str, str | None]:
    """Measure one clip into its cache file; returns (target, what went wrong)."""
    from mllm_avqa.windows import file_windows, worst_evidence

    try:
        windows = file_windows(
            job.media, _reader(), job.spec, context=job.context, texts=job.texts, start=job.start or 0.0, end=job.end
        )
        facts = worst_evidence(p.evidence for p in windows)
    except AvqaError as e:
        return job.target, f"{e.kind}: {e}"
    with whole_file(job.target) as part:
        part.write_bytes(_MEASUREMENTS.dump_json(facts))
    return job.target, None
