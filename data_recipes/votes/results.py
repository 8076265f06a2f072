"""Estimates as labels of records, and as rows of a table: per clip and per subject."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_recipes.votes.estimates import Corrected, Estimate, bias_corrected, summary
from data_recipes.votes.table import Votes, VotesError
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.records import Label

log = logging.getLogger(__name__)


def to_labels(estimate: Estimate) -> dict[str, Label]:
    """Label per clip name, on the study's scale.

    Counts per level come with means only: readers of a label prefer counts to mean and std, and the counts hold the
    very biases that p910 has taken out. A corrected score can leave the scale; a label may not, it stops at its end.
    """
    scale = estimate.votes.scale
    inside = np.clip(estimate.score, scale.low, scale.high)
    moved = int(np.sum(inside != estimate.score))
    if moved:
        log.warning("%d corrected scores lie outside %g..%g and were set to its end", moved, scale.low, scale.high)
    counts = None if estimate.model == "p910" else estimate.votes.levels()
    return {
        clip: Label(
            mean=float(inside[i]),
            std=None if np.isnan(estimate.std[i]) else float(estimate.std[i]),
            votes=None if counts is None else [float(v) for v in counts[i]],
            scale=(scale.low, scale.high),
            higher_is_better=scale.higher_is_better,
        )
        for i, clip in enumerate(estimate.votes.clips)
    }


def clip_rows(chosen: Estimate) -> Iterator[dict[str, Any]]:
    """A row per clip: the plain mean beside the bias-corrected one, over the votes that `chosen` used.

    `score` is that of the chosen model; numbers that one vote does not allow are None. The bias-corrected columns are
    left out where biases can not be known, `votes_1` .. `votes_5` where votes are not whole numbers 1-5.
    """
    votes = chosen.votes
    plain = chosen if chosen.model == "mos" else summary(votes)
    corrected = chosen if isinstance(chosen, Corrected) else _corrected(votes)
    counts = votes.levels()
    for i, (clip, n) in enumerate(zip(votes.clips, votes.n_clip, strict=True)):
        row: dict[str, Any] = {"clip": clip, "n": int(n), "score": _finite(chosen.score[i])}
        row |= {"mos": _finite(plain.score[i]), "std": _finite(plain.std[i]), "ci95": _finite(plain.ci95[i])}
        if corrected is not None:
            row |= {"mos_p910": _finite(corrected.score[i]), "ci95_p910": _finite(corrected.ci95[i])}
            row["shift"] = _finite(corrected.score[i] - plain.score[i])
        if counts is not None:
            row |= {f"votes_{level + 1}": int(v) for level, v in enumerate(counts[i])}
        yield row


def subject_rows(chosen: Estimate) -> Iterator[dict[str, Any]]:
    """A row per subject used: votes, bias (scale units), inconsistency."""
    corrected = chosen if isinstance(chosen, Corrected) else bias_corrected(chosen.votes)
    columns = (corrected.votes.subjects, corrected.votes.n_subject, corrected.bias, corrected.inconsistency)
    for subject, n, bias, inconsistency in zip(*columns, strict=True):
        yield {"subject": subject, "n": int(n), "bias": float(bias), "inconsistency": float(inconsistency)}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write .csv or .jsonl through a temporary file. Raises OutputError for another ending."""
    if path.suffix not in (".csv", ".jsonl"):
        raise OutputError(f"{path}: the ending must be .csv or .jsonl")
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as f:
        if path.suffix == ".jsonl":
            f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            rows = list(rows)
            writer = csv.DictWriter(f, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def table(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Tab-separated lines with a header; numbers to four places."""
    for i, row in enumerate(rows):
        if i == 0:
            yield "\t".join(row)
        yield "\t".join(_cell(v) for v in row.values())


def _corrected(votes: Votes) -> Corrected | None:
    try:
        return bias_corrected(votes)
    except VotesError as e:
        log.warning("no bias-corrected scores: %s", e)
        return None


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _finite(value: np.floating[Any] | float) -> float | None:
    return float(value) if math.isfinite(value) else None
