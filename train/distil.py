"""Ratings of another checkpoint as soft targets (Hinton et al. 2015, arXiv 1503.02531).

The teacher's level distribution becomes the votes of a record's label, so nothing behind the record knows of it. It may
be any checkpoint, ensembles included: its ratings are files, made by `mllm-avqa score --full -o teacher.jsonl`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS, mean_std
from mllm_avqa.schema.rating import Rating, ScoreDistribution
from mllm_avqa.schema.records import Label, Record
from train.config import Distil
from train.losses import target

log = logging.getLogger(__name__)
Aspects = dict[str, np.ndarray]  # aspect -> probabilities [5], order of WORDS
Ratings = dict[Path, Aspects]  # by the resolved path of the clip


def read_ratings(path: Path) -> Ratings:
    """Level distributions by clip from JSONL: rows of `score --full`, or bare ratings; clips that failed are left out.

    Files of a folder are several teachers and are averaged; inside a file the later row counts. Raises ConfigError:
    nothing there, a line that is no rating, or rows without distributions (`score` without --full).
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise ConfigError(f"distil.ratings {path}: no such file, or a folder without *.jsonl")
    teachers = [_read(file) for file in files]
    found: Ratings = {}
    for media in {m for t in teachers for m in t}:
        rated = [t[media] for t in teachers if media in t]
        aspects = {a for r in rated for a in r}
        found[media] = {a: np.mean([r[a] for r in rated if a in r], axis=0) for a in sorted(aspects)}
    if not found:
        raise ConfigError(f"distil.ratings {path}: not one clip was rated")
    return found


def _read(file: Path) -> Ratings:
    out: Ratings = {}
    with file.open(encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                row: dict[str, Any] = json.loads(line)
                if row.get("status") == "error":
                    continue
                if "status" in row and not row.get("rating"):
                    raise ConfigError(f"{file}:{number}: a row without level distributions: rate again with --full")
                rating = Rating.model_validate(row.get("rating", row))
            except (ValueError, AttributeError) as e:
                raise ConfigError(f"{file}:{number}: not a rating: {e}") from e
            media = (file.parent / row.get("file", rating.path)).resolve()
            out[media] = {a: _probs(s) for a, s in rating.scores.items() if s is not None}
    return out


def _probs(score: ScoreDistribution) -> np.ndarray:
    probs = np.array([score.probs[w] for w in WORDS])
    return probs / probs.sum()


class _Finder:
    """Ratings by clip: at its path, or, where the clips were rated elsewhere, at the one path with its ending."""

    def __init__(self, ratings: Ratings) -> None:
        self.ratings = ratings
        self.named: dict[str, list[Path]] = {}
        for media in ratings:
            self.named.setdefault(media.name, []).append(media)

    def __call__(self, folder: Path, media: str) -> Aspects | None:
        path = (folder / media).resolve()
        if path in self.ratings:
            return self.ratings[path]
        parts = [p for p in Path(media).parts if p != ".."]
        alike = [p for p in self.named.get(path.name, []) if list(p.parts[-len(parts) :]) == parts]
        return self.ratings[alike[0]] if len(alike) == 1 else None


def distilled(records: list[Record], folder: Path, ratings: Ratings, options: Distil) -> list[Record]:
    """Records whose labels are the teacher's; a record the teacher did not rate keeps its labels.

    Raises ConfigError when the teacher rated none of them.
    """
    find = _Finder(ratings)
    out: list[Record] = []
    changed = {"taught": 0, "new": 0, "kept": 0}
    for r in records:
        rated = find(folder, r.media)
        if rated is None or r.start is not None or r.end is not None:  # a rating speaks of the whole file
            changed["kept"] += 1
            out.append(r)
            continue
        labels = dict(r.labels)
        for aspect, probs in rated.items():
            own = labels.get(aspect)
            if own is None and not options.unlabelled:
                continue
            changed["new"] += own is None
            labels[aspect] = _label(probs, own, options.share)
        changed["taught"] += 1
        out.append(r.model_copy(update={"labels": labels}))
    log.info("distil: %(taught)d records taught, %(new)d labels where none was, %(kept)d records as they were", changed)
    if not changed["taught"]:
        example = (folder / records[0].media).resolve()
        raise ConfigError(
            f"distil.ratings: no record was rated: they start with {example}, ratings with {min(ratings)}"
        )
    return out


def _label(teacher: np.ndarray, own: Label | None, share: float) -> Label:
    """A label whose votes are share x teacher + (1 - share) x its own target."""
    probs = teacher if own is None else share * teacher + (1 - share) * np.array(target(own).probs)
    mean, std = mean_std(probs)
    return Label(mean=mean, std=std, votes=probs[::-1].tolist(), pseudo=own is None or own.pseudo)
