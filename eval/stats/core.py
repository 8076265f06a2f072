"""Correlations, errors and what they need to be defined; the errors are those of ITU-T P.1401.

A number that the data do not give (constant predictions, fewer than `LEAST` clips) is undefined and says why; it is
never 0. Direction (higher is better) is applied by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import kendalltau, norm, rankdata, t

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


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, p = 1.959964, hits / n
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def rmse(x: np.ndarray, y: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((x - y) ** 2)))


def rmse_free(z: np.ndarray, y: np.ndarray, parameters: int) -> float:
    """RMSE over N - d degrees of freedom, d the parameters of the mapping that made z, at least 1.

    Source: ITU-T P.1401, 7.5.1; the error in which P.1203 and its kin report. NaN when N <= d.
    """
    free = len(y) - max(1, parameters)
    return float(np.sqrt(np.sum((z - y) ** 2) / free)) if free > 0 else float("nan")


def rmse_star(z: np.ndarray, y: np.ndarray, ci: np.ndarray, parameters: int) -> float:
    """RMSE*: only what an error exceeds the label's 95 % interval by counts, over N - d degrees of freedom.

    ci: half width of the interval per stimulus. Source: ITU-T P.1401, 7.7, equations 7-27 and 7-29.
    """
    free = len(y) - max(1, parameters)
    over = np.clip(np.abs(z - y) - ci, 0.0, None)
    return float(np.sqrt(np.sum(over**2) / free)) if free > 0 else float("nan")


def outlier_ratio(z: np.ndarray, y: np.ndarray, ci: np.ndarray) -> float:
    """Share of stimuli whose error exceeds the half width of the label's 95 % interval (ITU-T P.1401, 7.5.2.2)."""
    return float(np.mean(np.abs(z - y) > ci))


@dataclass(frozen=True)
class Spread:
    """How sure every label is: `ci`, half width of its 95 % interval, and `error`, standard error of its mean. [n]"""

    ci: np.ndarray
    error: np.ndarray

    @classmethod
    def of_votes(cls, std: np.ndarray, votes: np.ndarray) -> Spread:
        """From the standard deviation and the number of votes of every stimulus: ci = t(.975, n-1) s / sqrt(n).

        Source: ITU-T P.1401, 7.4. Not finite where a stimulus has fewer than two votes.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(votes > 1, std / np.sqrt(votes), np.nan)
            return cls(ci=t.ppf(0.975, np.where(votes > 1, votes - 1, np.nan)) * error, error=error)

    @classmethod
    def of_ci(cls, ci: np.ndarray) -> Spread:
        """From half widths alone; the standard error takes them as normal, since the number of votes is not known."""
        return cls(ci=ci, error=ci / float(norm.ppf(0.975)))

    def take(self, rows: np.ndarray) -> Spread:
        return Spread(self.ci[rows], self.error[rows])
