"""How far scores moved, and whether the data say so at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.stats import bootstrap, content_parts
from eval.store import Json

LIMIT = 0.05  # of |change|: what a text, a container or a batch may do to a score on 1-5


def moved(changes: Sequence[float]) -> Json:
    """n, mean and largest |change| and the share above `LIMIT`; None and a note where there is nothing to measure."""
    if not len(changes):
        return {"n": 0, "mean": None, "max": None, "above_0.05": None, "note": "no clip has this score both times"}
    values = np.abs(np.asarray(changes, float))
    return {
        "n": len(values),
        "mean": round(float(values.mean()), 5),
        "max": round(float(values.max()), 5),
        "above_0.05": round(float((values > LIMIT).mean()), 4),
    }


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def interval(values: Sequence[float], groups: Sequence[str], draws: int = 1000) -> Json:
    """95 % interval of the mean of one value per clip, contents redrawn; a note where there is none."""
    if not np.ptp(values):
        return {"low": None, "high": None, "note": "equal for all clips"}
    found = bootstrap(mean, [np.asarray(values, float)], content_parts(groups), draws)
    if isinstance(found, str):
        return {"low": None, "high": None, "note": found}
    return {"low": round(found[0], 5), "high": round(found[1], 5)}
