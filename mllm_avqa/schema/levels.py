"""Five quality levels: words, numbers, soft targets and scales. The single source of truth for all of them.

Sources: five-grade scale of ITU-T P.800 / BT.500; level words as tokens: Q-Align, arXiv 2312.17090.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mllm_avqa.schema.errors import ConfigError

WORDS = ("excellent", "good", "fair", "poor", "bad")  # best to worst, as they are written and shown
VALUES = np.array([5.0, 4.0, 3.0, 2.0, 1.0])  # the number of each word, same order
SOS_ALPHA = 0.2  # default of the SOS hypothesis; see `sos_std`


@dataclass(frozen=True)
class Scale:
    """A study's nominal scale. `to_five` maps it linearly onto 1-5 with higher = better."""

    low: float
    high: float
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ConfigError(f"scale {self.low}..{self.high}: the maximum must be above the minimum (--scale)")

    def to_five(self, score: float) -> float:
        share = (score - self.low) / (self.high - self.low)
        return 1.0 + 4.0 * (share if self.higher_is_better else 1.0 - share)

    def from_five(self, score: float) -> float:
        share = (score - 1.0) / 4.0
        return self.low + (self.high - self.low) * (share if self.higher_is_better else 1.0 - share)

    def std_to_five(self, std: float) -> float:
        return 4.0 * std / (self.high - self.low)


def sos_std(mean: float, alpha: float = SOS_ALPHA) -> float:
    """Standard deviation of votes expected at a mean on 1-5: sqrt(alpha * (-m^2 + 6m - 5)).

    Source: SOS hypothesis, Hossfeld, Schatz, Egger, QoMEX 2011.
    """
    return float(np.sqrt(alpha * max(0.0, -mean * mean + 6.0 * mean - 5.0)))


def target_kind(mean: float, std: float) -> str:
    """Which label `soft_target` gives: "maxent", "two-point-near" (std too small) or "two-point-far" (too large)."""
    f = mean - np.floor(mean)
    if std * std < f * (1.0 - f) + 1e-9:
        return "two-point-near"
    if std * std > (mean - 1.0) * (5.0 - mean) - 1e-9:
        return "two-point-far"
    return "maxent"


def soft_target(mean: float, std: float | None = None) -> np.ndarray:
    """Level distribution with exactly this mean and, where feasible, this std.

    Discrete max-entropy label q_k ~ exp(a k + b k^2); outside the feasible range the two-point label with the exact
    mean. Returns float64 [5], order of `WORDS`. `std=None` uses the SOS hypothesis.
    Raises ConfigError for a mean outside 1..5 or a negative std.
    """
    if not 1.0 <= mean <= 5.0:
        raise ConfigError(f"mean {mean} is outside 1..5: convert the score with levels.Scale first")
    if std is None:
        std = sos_std(mean)
    if std < 0:
        raise ConfigError(f"std {std} is negative")
    kind = target_kind(mean, std)
    q = np.zeros(5)  # index 0 = value 1
    if kind == "two-point-near":
        low = min(int(np.floor(mean)), 4)
        q[low] = mean - low
        q[low - 1] = 1.0 - q[low]
    elif kind == "two-point-far":
        q[4] = (mean - 1.0) / 4.0
        q[0] = 1.0 - q[4]
    else:
        q = _maxent(mean, std)
    return q[::-1].copy()


def _maxent(mean: float, std: float) -> np.ndarray:
    from scipy.optimize import root

    k = np.arange(1.0, 6.0)
    x, moment2 = k - mean, std * std

    def weights(ab: np.ndarray) -> np.ndarray:
        logit = ab[0] * x + ab[1] * (x * x - moment2)
        w = np.exp(logit - logit.max())
        return w / w.sum()

    def gap(ab: np.ndarray) -> list[float]:
        q = weights(ab)
        return [float(q @ x), float(q @ (x * x) - moment2)]

    # A Gaussian of this std is the first guess; near the edges of the feasible range it has to walk far.
    start = -0.5 / max(moment2, 1e-3)
    best, err = weights(np.zeros(2)), np.inf
    for b in (start, start / 3, 0.0, 0.5, 2.0):
        found = root(gap, [0.0, b], method="hybr", options={"maxfev": 400})
        residual = float(np.abs(gap(found.x)).max())
        if residual < err:
            best, err = weights(found.x), residual
        if err < 1e-8:
            break
    return best


def mean_std(probs: np.ndarray) -> tuple[float, float]:
    """Score and std of a level distribution [5] in the order of `WORDS`."""
    mean = float(probs @ VALUES)
    return mean, float(np.sqrt(max(0.0, float(probs @ (VALUES - mean) ** 2))))


def word(score: float) -> str:
    """The level word of a score on 1-5: the nearest whole grade."""
    return WORDS[5 - int(np.clip(np.floor(score + 0.5), 1, 5))]
