"""Agreement of predictions with labels: rank, linear and mapped correlation, error, and how sure they are.

A number that the data do not give (constant predictions, fewer than `LEAST` clips) is undefined and says why; it is
never 0. Definitions follow ITU-T P.1401 and the VQEG reports; direction (higher is better) is applied by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.optimize import least_squares
from scipy.stats import kendalltau, rankdata

Mapping = Literal["none", "linear", "logistic4"]
MAPPINGS: tuple[Mapping, ...] = ("none", "linear", "logistic4")
LEAST = 5  # clips; below this a correlation says nothing
LEAST_GROUPS = 5  # contents; below this resampling them says nothing
Statistic = Callable[..., float]


class Number(BaseModel):
    """A statistic, or why there is none."""

    model_config = ConfigDict(extra="forbid")

    value: float | None = None
    low: float | None = None  # bootstrap 95 % interval by content group
    high: float | None = None
    note: str = ""  # why there is no value or no interval


class Agreement(BaseModel):
    """How one aspect's predictions agree with its labels. n of m labelled clips have a prediction."""

    model_config = ConfigDict(extra="forbid")

    n: int
    m: int
    groups: int
    srcc: Number
    krcc: Number
    plcc: Number  # raw
    plcc_mapped: Number
    rmse: Number  # after the mapping, on the labels' scale
    mapping: str  # what was really used, with the reason where it is not what was asked for


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


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of average ranks."""
    return pearson(rankdata(x), rankdata(y))


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """tau-b: ties on either side are corrected for."""
    return float(kendalltau(x, y, variant="b").statistic)


def partial_spearman(x: np.ndarray, y: np.ndarray, control: np.ndarray) -> float:
    """Rank correlation of x and y with the ranks of `control` regressed out of both."""
    xy, xc, yc = spearman(x, y), spearman(x, control), spearman(y, control)
    rest = (1 - xc * xc) * (1 - yc * yc)
    return (xy - xc * yc) / rest**0.5 if rest > 1e-12 else float("nan")


def residual_spearman(s_a: np.ndarray, s_v: np.ndarray, a: np.ndarray, v: np.ndarray) -> float:
    """SRCC(s_a - s_v, a - v): near 0 for one score copied to both, however good that score is."""
    return spearman(s_a - s_v, a - v)


def map_linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    slope, offset = np.polyfit(x, y, 1)
    return np.asarray(slope * x + offset)


def map_logistic4(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, str]:
    """Rising VQEG logistic b2 + (b1 - b2) / (1 + exp(-(x - b3) / b4)), least squares, bounded, from nine starts.

    Returns (mapped x, ""), or the linear mapping and the reason when no start converges to something better than it.
    """
    spread_x, spread_y = float(np.ptp(x)), float(np.ptp(y))

    def curve(b: np.ndarray) -> np.ndarray:
        return np.asarray(b[1] + b[0] / (1.0 + np.exp(-np.clip((x - b[2]) / b[3], -60, 60))))

    low = [0.0, y.min() - spread_y, x.min() - spread_x, 0.01 * spread_x]
    high = [3 * spread_y, y.max() + spread_y, x.max() + spread_x, 10 * spread_x]
    best: np.ndarray | None = None
    error = float(((map_linear(x, y) - y) ** 2).sum())
    line = error
    for middle in np.quantile(x, [0.25, 0.5, 0.75]):
        for width in (0.05, 0.2, 1.0):
            start = [spread_y, y.min(), float(middle), width * spread_x]
            found = least_squares(lambda b: curve(b) - y, start, bounds=(low, high), max_nfev=500)
            if found.success and 2 * found.cost < error * (1 + 1e-9):
                best, error = found.x, 2 * float(found.cost)
    # A flat "curve" would map everything to one number and hide a wrong direction.
    if best is None or np.ptp(curve(best)) < 1e-6 * spread_y or error > line * (1 + 1e-9):
        return map_linear(x, y), "the 4-parameter logistic did not converge to something better than a line"
    return curve(best), ""


def mapped(x: np.ndarray, y: np.ndarray, mapping: Mapping) -> tuple[np.ndarray, float, str]:
    """(predictions on the labels' scale, their PLCC, name of the mapping). A line keeps the sign of the raw PLCC."""
    if mapping == "none":
        return x, pearson(x, y), "none"
    if mapping == "linear":
        return map_linear(x, y), pearson(x, y), "linear"
    z, why = map_logistic4(x, y)
    if why:
        return z, pearson(x, y), f"linear ({why})"
    return z, pearson(z, y), "logistic4"


def rmse(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((x - y) ** 2)))


def content_parts(groups: Sequence[str]) -> list[tuple[str, ...]]:
    """A clip made of two sources has the group "picture+sound" and is drawn with both contents."""
    return [tuple(g.split("+")) for g in groups]


def bootstrap(
    statistic: Statistic,
    columns: Sequence[np.ndarray],
    groups: Sequence[tuple[str, ...]],
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | str:
    """95 % percentile interval of statistic(*columns) over redrawn contents, or why there is none.

    A clip of several contents counts as often as the product of their draws: the bootstrap for crossed factors of
    Owen and Eckles (Annals of Applied Statistics, 2012). Draws in which the statistic is undefined are left out.
    """
    contents = sorted({part for g in groups for part in g})
    if len(contents) < LEAST_GROUPS:
        return f"{len(contents)} contents, at least {LEAST_GROUPS} needed for an interval"
    index = {c: i for i, c in enumerate(contents)}
    width = max(len(g) for g in groups)
    member = np.full((len(groups), width), len(contents))  # the extra place weighs 1
    for row, g in enumerate(groups):
        member[row, : len(g)] = [index[p] for p in g]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        weights = np.append(np.bincount(rng.integers(0, len(contents), len(contents)), minlength=len(contents)), 1)
        chosen = np.repeat(np.arange(len(groups)), weights[member].prod(1))
        sample = [c[chosen] for c in columns]
        if len(chosen) >= LEAST and all(np.ptp(c) > 0 for c in sample):
            value = statistic(*sample)
            if np.isfinite(value):
                values.append(value)
    if len(values) < draws // 2:
        return f"only {len(values)} of {draws} draws give a number"
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def number(
    statistic: Statistic, *columns: np.ndarray, groups: Sequence[str] | None = None, draws: int = 1000
) -> Number:
    """A statistic with its reason when undefined, and its interval when `groups` are given."""
    why = undefined(*columns)
    if why:
        return Number(note=why)
    value = statistic(*columns)
    if not np.isfinite(value):
        return Number(note="not defined for these values")
    result = Number(value=round(value, 4))
    if groups is not None:
        interval = bootstrap(statistic, columns, content_parts(groups), draws)
        if isinstance(interval, str):
            return result.model_copy(update={"note": interval})
        result.low, result.high = (round(v, 4) for v in interval)
    return result


def agreement(
    predictions: Sequence[float],
    labels: Sequence[float],
    *,
    groups: Sequence[str],
    total: int | None = None,
    mapping: Mapping = "logistic4",
    draws: int = 1000,
) -> Agreement:
    """All numbers of one aspect. `total` is the number of labelled clips, with or without a prediction."""
    x, y = np.asarray(predictions, float), np.asarray(labels, float)
    why = undefined(x, y)
    counts: dict[str, Any] = {
        "n": len(x),
        "m": len(x) if total is None else total,
        "groups": len({p for g in content_parts(groups) for p in g}),
    }
    if why:
        nothing = Number(note=why)
        error = Number(value=round(rmse(x, y), 4)) if len(x) >= LEAST and mapping == "none" else nothing
        return Agreement(
            **counts, srcc=nothing, krcc=nothing, plcc=nothing, plcc_mapped=nothing, rmse=error, mapping="none"
        )
    z, plcc, used = mapped(x, y, mapping)
    return Agreement(
        **counts,
        srcc=number(spearman, x, y, groups=groups, draws=draws),
        krcc=number(kendall, x, y),
        plcc=number(pearson, x, y),
        plcc_mapped=Number(value=round(plcc, 4)),
        rmse=Number(value=round(rmse(z, y), 4)),
        mapping=used,
    )
