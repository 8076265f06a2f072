"""Prediction errors on the labels' scale, with and without the uncertainty of the labels themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t


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
