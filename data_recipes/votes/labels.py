"""Estimates as `Label`s of records."""

from __future__ import annotations

import logging

import numpy as np

from data_recipes.votes.estimates import Estimate
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
