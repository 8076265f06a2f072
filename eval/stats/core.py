"""Correlations of two columns, and when there are none.

A number that the data do not give (constant predictions, fewer than `LEAST` clips) is undefined and says why; it is
never 0. Direction (higher is better) is applied by the caller.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import kendalltau, rankdata

LEAST = 5  # clips; below this a correlation says nothing


class Number(BaseModel):
    """A statistic, or why there is none."""

    model_config = ConfigDict(extra="forbid")

    value: float | None = None
    low: float | None = None  # bootstrap 95 % interval by content group
    high: float | None = None
    note: str = ""  # why there is no value or no interval


def undefined(*columns: np.ndarray) -> str:
    """Why correlations of these columns do not exist; empty when they do."""
    n = len(columns[0])
    if n < LEAST:
        return f"{n} clips, at least {LEAST} needed"
    names = ("predictions", "labels", "control values")
    for name, column in zip(names, columns, strict=False):
        if not np.isfinite(column).all():
            return f"{name} are not all finite"
        if np.ptp(column) <= 1e-12 * max(1.0, float(np.abs(column).max())):
            return f"{name} are constant"
    return ""


def mean(x: np.ndarray) -> float:
    """Arithmetic mean."""
    return float(np.mean(x))


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """PLCC: Pearson's product-moment correlation (ITU-T P.1401, 7.5.3)."""
    return float(np.corrcoef(x, y)[0, 1])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """SRCC: Pearson's correlation of average ranks, so that ties are no accident of the order (Kendall, 1948)."""
    return pearson(rankdata(x), rankdata(y))


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """KRCC: tau-b, which corrects for ties on either side (Kendall, Biometrika 33, 1945)."""
    return float(kendalltau(x, y, variant="b").statistic)


def share(part: np.ndarray, whole: np.ndarray) -> float:
    """Sum of part / sum of whole, both per clip: a micro-averaged share such as precision; NaN of nothing."""
    total = float(whole.sum())
    return float(part.sum()) / total if total else float("nan")


def partial_spearman(x: np.ndarray, y: np.ndarray, control: np.ndarray) -> float:
    """Rank correlation of x and y with the ranks of `control` regressed out of both (Conover, 1999, 5.4)."""
    xy, xc, yc = spearman(x, y), spearman(x, control), spearman(y, control)
    rest = (1 - xc * xc) * (1 - yc * yc)
    return (xy - xc * yc) / rest**0.5 if rest > 1e-12 else float("nan")


def residual_spearman(s_a: np.ndarray, s_v: np.ndarray, a: np.ndarray, v: np.ndarray) -> float:
    """SRCC(s_a - s_v, a - v): near 0 for one score copied to both, however good that score is."""
    return spearman(s_a - s_v, a - v)
