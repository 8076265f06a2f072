"""What scores are worth on a user's own labelled clips: a cut-off for a gate, and the least difference that counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from mllm_avqa.schema.errors import ConfigError

DRAWS = 1000  # of the bootstrap over contents
PAIR_DRAWS = 200
MOST_PAIRS = 50_000
LEAST_CLIPS = 10
SURE = 0.95  # share of pairs that must be ordered as people order them


class Bounded(BaseModel):
    """A number with its 95 % bootstrap interval."""

    model_config = ConfigDict(extra="forbid")

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, draws: np.ndarray) -> Bounded:
        """No interval where fewer than half of the draws give a number."""
        kept = draws[np.isfinite(draws)]
        if 2 * len(kept) < len(draws):
            return cls(value=round(value, 4))
        low, high = np.quantile(kept, [0.025, 0.975])
        return cls(value=round(value, 4), low=round(float(low), 4), high=round(float(high), 4))

    def __str__(self) -> str:
        return f"{self.value:.3g}" + ("" if self.low is None else f" [{self.low:.3g}, {self.high:.3g}]")


class CutOff(BaseModel):
    """Clips that score below `at` fail. precision: of those that fail, the share that is bad; recall: of the bad ones,
    the share that fails. fresh_*: the same on clips that had no part in choosing (out of the bootstrap's bag)."""

    model_config = ConfigDict(extra="forbid")

    wanted: str  # "precision 0.9"
    at: Bounded
    precision: Bounded
    recall: Bounded
    fresh_precision: float | None = None
    fresh_recall: float | None = None
    failing: float  # share of all clips


class Worth(BaseModel):
    """What one aspect's scores are worth on these clips."""

    model_config = ConfigDict(extra="forbid")

    aspect: str
    clips: int
    bad: int  # with a label below `good`
    good: float
    contents: int
    cut_offs: list[CutOff] = []
    unreached: list[str] = []  # wishes that no cut-off fulfils
    difference: Bounded | None = None  # smallest difference of two scores that orders 95 % of pairs as the labels do


def worth(
    aspect: str, scores: Sequence[float], labels: Sequence[float], groups: Sequence[str], good: float,
    *, precision: Sequence[float] = (), recall: Sequence[float] = (), seed: int = 0,
) -> Worth:  # fmt: skip
    """good: label from which a clip is good. Raises ConfigError for too few clips, or when all are good or all bad."""
    s, y = np.asarray(scores, float), np.asarray(labels, float)
    if len(s) < LEAST_CLIPS:
        raise ConfigError(f"{len(s)} clips have a label and a score for {aspect}; at least {LEAST_CLIPS} are needed")
    bad = y < good
    if bad.all() or not bad.any():
        what = "bad" if bad.all() else "good"
        raise ConfigError(f"--good {good:g}: all {len(s)} clips are {what}; labels go from {y.min():g} to {y.max():g}")
    found = Worth(aspect=aspect, clips=len(s), bad=int(bad.sum()), good=good, contents=len(set(groups)))
    weights = content_weights(groups, DRAWS, seed)
    for name, targets in (("precision", precision), ("recall", recall)):
        for target in targets:
            cut = _cut_off(s, bad, weights, name, target)
            if cut is None:
                found.unreached.append(f"{name} {target:g}")
            else:
                found.cut_offs.append(cut)
    found.difference = significant_difference(s, y, weights[:PAIR_DRAWS], seed)
    return found


def content_weights(groups: Sequence[str], draws: int, seed: int = 0) -> np.ndarray:
    """How often each clip is drawn when contents are drawn with replacement [draws, n]."""
    names, member = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    return drawn[:, member].astype(float)


def _cut_off(s: np.ndarray, bad: np.ndarray, weights: np.ndarray, name: str, target: float) -> CutOff | None:
    at = _choose(s, bad, np.ones(len(s)), name, target)
    if at is None:
        return None
    chosen = [_choose(s, bad, w, name, target) for w in weights]
    cuts = np.array([np.nan if c is None else c for c in chosen])
    here = np.array([_rates(s, bad, w, at) for w in weights])
    fresh = [_rates(s, bad, (w == 0).astype(float), c) for w, c in zip(weights, chosen, strict=True) if c is not None]
    p, r = _rates(s, bad, np.ones(len(s)), at)
    with np.errstate(invalid="ignore"):
        means = [float(np.nanmean(c)) if np.isfinite(c).any() else None for c in np.array(fresh).T] if fresh else []
    fresh_p, fresh_r = means or (None, None)
    return CutOff(
        wanted=f"{name} {target:g}",
        at=Bounded.of(at, cuts),
        precision=Bounded.of(p, here[:, 0]),
        recall=Bounded.of(r, here[:, 1]),
        fresh_precision=None if fresh_p is None else round(fresh_p, 4),
        fresh_recall=None if fresh_r is None else round(fresh_r, 4),
        failing=round(float((s < at).mean()), 4),
    )


def _choose(s: np.ndarray, bad: np.ndarray, w: np.ndarray, name: str, target: float) -> float | None:
    """The cut-off that lets most through that it may: the highest with the precision, the lowest with the recall."""
    order = np.argsort(s, kind="stable")
    s, bad, w = s[order], bad[order], w[order]
    fails, hits = np.cumsum(w), np.cumsum(w * bad)
    last = np.append(s[1:] > s[:-1], True)  # a cut lies between two scores, or above the highest
    ok = last & (fails > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ok &= (hits / fails if name == "precision" else hits / hits[-1]) >= target - 1e-9
    if hits[-1] == 0 or not ok.any():
        return None
    k = int(np.flatnonzero(ok)[-1 if name == "precision" else 0])
    return float((s[k] + s[k + 1]) / 2) if k + 1 < len(s) else float(s[k] + 0.01)


def _rates(s: np.ndarray, bad: np.ndarray, w: np.ndarray, at: float) -> tuple[float, float]:
    """Weighted precision and recall of failing below `at`; NaN where nothing fails or nothing is bad."""
    fails, hits, all_bad = w[s < at].sum(), w[(s < at) & bad].sum(), w[bad].sum()
    return (hits / fails if fails else np.nan), (hits / all_bad if all_bad else np.nan)


def significant_difference(s: np.ndarray, y: np.ndarray, weights: np.ndarray, seed: int = 0) -> Bounded | None:
    """Smallest difference of two scores at which `SURE` of the pairs are ordered as their labels are.

    The resolving power of ITU-T J.149, where labels come without votes: the share of pairs in the right order is a
    non-decreasing function of the difference (isotonic regression). None where even the largest is not that sure.
    """
    i, j = np.triu_indices(len(s), 1)
    kept = np.flatnonzero(y[i] != y[j])
    if len(kept) > MOST_PAIRS:
        kept = np.random.default_rng(seed).choice(kept, MOST_PAIRS, replace=False)
    i, j = i[kept], j[kept]
    gap = np.abs(s[i] - s[j])
    order = np.argsort(gap, kind="stable")
    i, j, gap = i[order], j[order], gap[order]
    right = (np.sign(s[i] - s[j]) == np.sign(y[i] - y[j])).astype(float)

    def least(w: np.ndarray) -> float:
        from scipy.optimize import isotonic_regression

        some = w > 0
        fitted = isotonic_regression(right[some], weights=w[some]).x if some.any() else np.zeros(0)
        sure = np.flatnonzero(fitted >= SURE)
        return float(gap[some][sure[0]]) if len(sure) else float("nan")

    value = least(np.ones(len(gap)))
    if not np.isfinite(value):
        return None
    return Bounded.of(value, np.array([least(w[i] * w[j]) for w in weights]))
