"""Is one model better than another? Differences, and pairs of clips as in Krasula et al.

Source: Krasula, Fliegel, Le Callet, Klima, "On the accuracy of objective image and video quality models", QoMEX 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import norm, rankdata

from eval.stats.core import LEAST, Number, pearson, rmse, spearman, undefined
from eval.stats.resample import Statistic, content_parts, interval, resampled

Pairs = Literal["unordered", "vmaf"]
MOST = 1500  # clips; of more, evenly spread ones are paired (1.1 million pairs)


class Discrimination(BaseModel):
    """Krasula's numbers. `threshold` is in units of the predictions: 95 % of similar pairs differ by less."""

    model_config = ConfigDict(extra="forbid")

    clips: int = 0
    different: int = 0  # pairs that viewers told apart
    similar: int = 0
    auc_ds: Number  # different from similar, by |difference of predictions|
    auc_bw: Number  # better from worse, by the difference of predictions
    cc_0: Number  # share of different pairs with the right sign
    threshold: Number


def discrimination(
    predictions: np.ndarray, labels: np.ndarray, error: np.ndarray, pairs: Pairs = "unordered"
) -> Discrimination:
    """A pair is different if |z| > 2, z its difference of labels over the standard error of that difference.

    predictions, labels: [n], higher is better; error: [n], standard errors of the labels. `pairs="vmaf"` counts every
    pair twice and every clip with itself, as Netflix' VMAF does; the paper's data hold each pair once, the default.
    """
    usable = np.isfinite(predictions) & np.isfinite(labels) & np.isfinite(error)
    chosen = np.flatnonzero(usable)
    if len(chosen) > MOST:
        chosen = chosen[np.arange(MOST) * len(chosen) // MOST]
    x, y, variance = predictions[chosen], labels[chosen], error[chosen] ** 2
    n = len(x)
    if n * (n - 1) // 2 < LEAST:
        return none_of_it(f"{n} clips with a standard error of the label make fewer than {LEAST} pairs")
    i, j = np.triu_indices(n, 1) if pairs == "unordered" else (a.ravel() for a in np.indices((n, n)))
    spread = variance[i] + variance[j]
    z = (y[i] - y[j]) / np.sqrt(np.where(spread == 0, 1e-8, spread))
    difference = x[i] - x[j]
    told = np.abs(z) > 2
    far, near = np.abs(difference[told]), np.abs(difference[~told])
    better = np.where(z[told] > 0, difference[told], -difference[told])
    nothing = "no two labels differ beyond their uncertainty"
    everything = "all labels differ beyond their uncertainty"
    return Discrimination(
        clips=n,
        different=len(far),
        similar=len(near),
        auc_ds=_number(area(far, near), everything if len(far) else nothing),
        auc_bw=_number(area(better, -better), nothing),
        cc_0=_number(float(np.mean(better > 0)) if len(better) else None, nothing),
        threshold=_number(float(np.percentile(near, 95)) if len(near) else None, everything),
    )


def area(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """Area under the ROC curve: chance that a positive value is above a negative one, ties count half.

    Source: Hanley and McNeil, Radiology 143 (1982); None when a side is empty.
    """
    n, m = len(positive), len(negative)
    if not n or not m:
        return None
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / n / m)


def none_of_it(why: str) -> Discrimination:
    """Nothing but the reason."""
    nothing = Number(note=why)
    return Discrimination(auc_ds=nothing, auc_bw=nothing, cc_0=nothing, threshold=nothing)


def _number(value: float | None, why: str) -> Number:
    return Number(note=why) if value is None else Number(value=round(value, 4))


class ModelComparison(BaseModel):
    """Difference first - second of one statistic over n clips that both predicted, with its p-values."""

    model_config = ConfigDict(extra="forbid")

    first: str
    second: str
    statistic: str
    n: int
    difference: Number
    p_bootstrap: float | None = None
    p_bootstrap_holm: float | None = None
    p_steiger: float | None = None  # takes clips as independent; exact for PLCC, an approximation for SRCC
    p_steiger_holm: float | None = None


def steiger(ay: float, by: float, ab: float, n: int) -> tuple[float, float]:
    """z and two-sided p of r(a, y) against r(b, y), which share y, given r(a, b) and n clips.

    Source: Steiger, Psychological Bulletin 87 (1980), equation 14: Fisher's z of both with the pooled correlation in
    their covariance. NaN where a correlation is 1 or -1 or n < 4.
    """
    if n < 4 or max(abs(ay), abs(by), abs(ab)) >= 1:
        return float("nan"), float("nan")
    mean = (ay + by) / 2
    covariance = (ab * (1 - 2 * mean**2) - mean**2 * (1 - 2 * mean**2 - ab**2) / 2) / (1 - mean**2) ** 2
    if covariance >= 1:
        return float("nan"), float("nan")
    z = float((np.arctanh(ay) - np.arctanh(by)) * np.sqrt((n - 3) / (2 - 2 * covariance)))
    return z, float(2 * norm.sf(abs(z)))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number, in the given order; None stays None and does not count.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted((v, i) for i, v in enumerate(p) if v is not None)
    out: list[float | None] = [None] * len(p)
    worst = 0.0
    for rank, (v, i) in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * v))
        out[i] = worst
    return out


def paired_bootstrap(
    statistic: Statistic,
    first: np.ndarray,
    second: np.ndarray,
    y: np.ndarray,
    groups: Sequence[tuple[str, ...]],
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float] | str:
    """95 % interval and two-sided p of statistic(first, y) - statistic(second, y), or why there is none.

    Both are computed on the same redrawn contents (Efron and Tibshirani, 1993, 16.4); p counts the observed data as one
    of the draws and is therefore never 0.
    """
    a, b = (resampled(statistic, (x, y), groups, draws, seed) for x in (first, second))
    if isinstance(a, str) or isinstance(b, str):
        return a if isinstance(a, str) else str(b)
    difference = a - b
    span = interval(difference)
    if isinstance(span, str):
        return span
    kept = difference[np.isfinite(difference)]
    tail = min((kept <= 0).sum(), (kept >= 0).sum())
    return *span, min(1.0, 2 * (1 + float(tail)) / (len(kept) + 1))


@dataclass(frozen=True)
class Rival:
    """One model's predictions of the common clips: raw, and on the labels' scale. [n]

    straight: the mapping is a line or none, so the raw predictions have its PLCC, with the right sign.
    """

    name: str
    raw: np.ndarray
    mapped: np.ndarray
    straight: bool = False


def compare(models: Sequence[Rival], y: np.ndarray, groups: Sequence[str], draws: int = 1000) -> list[ModelComparison]:
    """Every pair of models by SRCC, PLCC (mapped) and RMSE (mapped; the mappings are held fixed over draws).

    Holm's correction is over the pairs of one statistic. y: [n], groups: content of every clip.
    """
    parts = content_parts(groups)
    out: list[ModelComparison] = []
    for name, statistic in (("srcc", spearman), ("plcc_mapped", pearson), ("rmse", rmse)):
        rows = [_pair(name, statistic, a, b, y, parts, draws) for a, b in combinations(models, 2)]
        boot, steig = holm([r.p_bootstrap for r in rows]), holm([r.p_steiger for r in rows])
        for row, p, q in zip(rows, boot, steig, strict=True):
            row.p_bootstrap_holm, row.p_steiger_holm = p, q
        out += rows
    return out


def _pair(
    name: str,
    statistic: Statistic,
    a: Rival,
    b: Rival,
    y: np.ndarray,
    parts: Sequence[tuple[str, ...]],
    draws: int,
) -> ModelComparison:
    xa, xb = (m.raw if name == "srcc" or (name == "plcc_mapped" and m.straight) else m.mapped for m in (a, b))
    row = ModelComparison(first=a.name, second=b.name, statistic=name, n=len(y), difference=Number())
    for model, x in ((a, xa), (b, xb)):
        why = undefined(x, y)
        if why:
            row.difference.note = f"{model.name}: {why}"
            return row
    row.difference.value = round(statistic(xa, y) - statistic(xb, y), 4)
    found = paired_bootstrap(statistic, xa, xb, y, parts, draws)
    if isinstance(found, str):
        row.difference.note = found
    else:
        row.difference.low, row.difference.high = round(found[0], 4), round(found[1], 4)
        row.p_bootstrap = found[2]
    if name != "rmse":
        p = steiger(statistic(xa, y), statistic(xb, y), statistic(xa, xb), len(y))[1]
        row.p_steiger = p if np.isfinite(p) else None
    return row
