"""One pass over the held-out clips: every number of a model card, through the corridor that ratings use."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import machine
from eval.answers import Explanations, StageOne
from eval.held_out import CONDITIONS, HeldOut, Judge, chunks, labels_of, opened
from eval.probes import CrossTalk, Injection, independence
from eval.stats import agreement
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record, read_records

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What to measure. `probes` clips, evenly spread, get injections and explanations; they cost many forwards each."""

    split: str = "test"
    limit: int | None = None
    languages: tuple[str, ...] = ()  # empty = the languages of the card
    context: str = "fast"
    chunk: int = 8
    probes: int = 40
    threads: int | None = None
    draws: int = 1000  # of the bootstrap


def measure(records_file: Path, checkpoint: str, settings: Settings, *, rater: Rater | None = None) -> dict[str, Any]:
    """Measure a checkpoint; `rater`: the same one, open already, with the context of the settings.

    Raises ConfigError for records without such a split, CheckpointError for the checkpoint.
    """
    every = list(read_records(records_file))
    records = select(every, settings)
    with opened(rater, checkpoint, context=settings.context, threads=settings.threads) as rater:
        languages = settings.languages or tuple(rater.card.languages)
        begin = time.perf_counter()
        state = _pass(records, every, records_file.parent, rater, languages, settings)
    kept = len(records) - len(state.failures)
    log.info("measured %d of %d clips", kept, len(records))
    results: dict[str, Any] = machine.describe() | {
        "checkpoint": rater.card.name,
        "fingerprint": rater.fingerprint,
        "records": _origin(records_file, every, records, state.failures, settings),
        "context": settings.context,
        "seconds": {"all": round(time.perf_counter() - begin, 1), **state.mean_seconds()},
        "aspects": {},
        "independence": {},
    }
    for language in languages:
        results["aspects"][language] = {
            name: _agreements(records, state.scores[language, name], settings.draws) for name in CONDITIONS
        }
        full = state.scores[language, "full"]
        rows = [(full[r.id], labels_of(r), r.group) for r in records if r.id in full]
        results["independence"][language] = independence(rows)
    for name in ("crosstalk", "injection", "stage1", "explanations"):
        results[name] = {language: getattr(state, name)[language].report() for language in languages}
    return results


def select(records: Sequence[Record], settings: Settings) -> list[Record]:
    """The records to measure; a limit takes evenly spread ones, so that no source fills it alone."""
    chosen = [r for r in records if settings.split == "all" or r.split == settings.split]
    if not chosen:
        splits = ", ".join(sorted({r.split or "none" for r in records})) or "no records at all"
        raise ConfigError(
            f"no record of split {settings.split!r} (--split); there are: {splits}, and 'all' takes every one"
        )
    return spread(chosen, settings.limit) if settings.limit is not None else chosen


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` evenly spread items."""
    n = min(count, len(items))
    return [items[i * len(items) // n] for i in range(n)]


class _State:
    """What is kept of the clips: numbers only."""

    def __init__(self, every: Sequence[Record], languages: Sequence[str]) -> None:
        self.scores: dict[tuple[str, str], dict[str, dict[str, float]]] = {
            (language, name): {} for language in languages for name in CONDITIONS
        }
        self.crosstalk = {x: CrossTalk() for x in languages}
        self.injection = {x: Injection() for x in languages}
        self.stage1 = {x: StageOne(every) for x in languages}
        self.explanations = {x: Explanations() for x in languages}
        self.failures: dict[str, str] = {}
        self._seconds: Counter[str] = Counter()
        self._windows = 0

    def count_seconds(self, chunk: Sequence[HeldOut]) -> None:
        for p in (p for c in chunk for p in c.windows):
            self._seconds.update(p.seconds)
            self._windows += 1

    def mean_seconds(self) -> dict[str, float]:
        """Wall seconds per window and room."""
        return {k: round(v / max(1, self._windows), 4) for k, v in self._seconds.items()}


def _pass(
    records: list[Record],
    every: Sequence[Record],
    base: Path,
    rater: Rater,
    languages: Sequence[str],
    settings: Settings,
) -> _State:
    judge, state = Judge(rater), _State(every, languages)
    probed = {r.id for r in spread(records, settings.probes)} if settings.probes else set()
    for chunk in chunks(records, base, rater, settings.chunk, state.failures):
        state.count_seconds(chunk)
        for language in languages:
            for name, condition in CONDITIONS.items():
                for clip, scores in zip(chunk, judge.clips(chunk, language, condition), strict=True):
                    state.scores[language, name][clip.record.id] = {a: s.score for a, s in scores.items()}
            state.crosstalk[language].add(judge, chunk, language)
            for clip in chunk:
                state.stage1[language].add(judge, clip, language)
                if clip.record.id in probed:
                    state.injection[language].add(judge, clip, language)
                    state.explanations[language].add(judge, clip, language)
        judge.forget()
    return state


def _agreements(records: list[Record], scores: dict[str, dict[str, float]], draws: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for aspect in dict.fromkeys(a for r in records for a in r.labels):
        labelled = [r for r in records if aspect in r.labels]
        scored = [r for r in labelled if aspect in scores.get(r.id, {})]
        out[aspect] = agreement(
            [scores[r.id][aspect] for r in scored],
            [labels_of(r)[aspect] for r in scored],
            groups=[r.group for r in scored],
            total=len(labelled),
            draws=draws,
        ).model_dump(exclude_defaults=True)
    return out


def _origin(
    path: Path, every: list[Record], records: list[Record], failures: dict[str, str], settings: Settings
) -> dict[str, Any]:
    """Where the numbers come from: file, split, contents, licences, and what could not be used."""

    def contents(rs: list[Record]) -> set[str]:
        return {part for r in rs for part in r.group.split("+")}

    licences = Counter(part.strip() for r in every for part in (r.licence or "not stated").split(";"))
    measured, used = {r.id for r in records}, contents(records)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        "split": settings.split,
        "datasets": sorted({r.dataset for r in records}),
        "clips": len(records),
        "contents": len(used),
        "shared_with_training": len(used & contents([r for r in every if r.split == "train" and r.id not in measured])),
        "pseudo_labels": all(lb.pseudo for r in records for lb in r.labels.values()),
        "failed": failures,
        "splits": dict(Counter(r.split or "none" for r in every)),
        "licences": dict(licences.most_common()),
    }
