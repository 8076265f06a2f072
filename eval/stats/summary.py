"""Agreement of predictions with labels in one object, over segments of the labels and over content-separated splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.stats.core import LEAST, Number, kendall, mean, pearson, rmse, spearman, undefined
from eval.stats.mapping import Mapping, fit, mapped
from eval.stats.resample import LEAST_GROUPS, Statistic, bootstrap, content_parts


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


def average(x: np.ndarray, groups: Sequence[str], draws: int = 1000) -> Number:
    """Mean of x [n], n > 0, with its interval by content, or the reason why there is none."""
    result = Number(value=round(mean(x), 4))
    span = bootstrap(mean, [x], content_parts(groups), draws)
    if isinstance(span, str):
        return result.model_copy(update={"note": span})
    return result.model_copy(update={"low": round(span[0], 4), "high": round(span[1], 4)})


def agreement(
    predictions: Sequence[float] | np.ndarray,
    labels: Sequence[float] | np.ndarray,
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


SEGMENTS = 4
SPLITS = 10
SHARE = 0.2


class ScoreRange(BaseModel):
    """Clips whose label is in [low, high) - the last one with its end - and the SRCC among them."""

    model_config = ConfigDict(extra="forbid")

    low: float
    high: float
    n: int
    srcc: Number


class Quartiles(BaseModel):
    """Median and quartiles of a statistic over splits; `splits` is how many of them gave a number."""

    model_config = ConfigDict(extra="forbid")

    median: float | None = None
    low: float | None = None
    high: float | None = None
    splits: int = 0
    note: str = ""


def segments(
    x: np.ndarray, y: np.ndarray, groups: Sequence[str], count: int = SEGMENTS, draws: int = 1000
) -> list[ScoreRange]:
    """SRCC inside `count` segments of the labels that hold equally many clips (equal labels stay together).

    A high SRCC over all may come from telling bad from good alone; what matters between near rivals is the order inside
    a segment. Source of the idea: Zhang et al., "Fine-Grained Quality Assessment for Compressed Images", IEEE TIP 28
    (2019).
    """
    if len(y) == 0 or not np.isfinite(y).all():
        return []
    edges = np.unique(np.quantile(y, np.linspace(0, 1, count + 1)))
    place = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, max(0, len(edges) - 2))
    out = []
    for k in range(len(edges) - 1):
        inside = np.flatnonzero(place == k)
        out.append(
            ScoreRange(
                low=round(float(edges[k]), 4),
                high=round(float(edges[k + 1]), 4),
                n=len(inside),
                srcc=number(spearman, x[inside], y[inside], groups=[groups[i] for i in inside.tolist()], draws=draws),
            )
        )
    return out


def content_splits(
    groups: Sequence[str], count: int = SPLITS, share: float = SHARE, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training clips, test clips) of `count` random splits by content; row numbers, none in both.

    `share` of the contents are drawn for the test. A clip of several contents is a test clip when all of them are, a
    training clip when none of them is, and otherwise in neither. Content-separated splits are the field's practice
    (VSFA, Li, Jiang, Jiang, ACM MM 2019, uses 60/20/20).
    """
    parts = content_parts(groups)
    contents = np.array(sorted({p for g in parts for p in g}))
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        held = set(rng.permutation(contents)[: max(1, round(share * len(contents)))])
        hits = np.array([sum(p in held for p in g) for g in parts])
        size = np.array([len(g) for g in parts])
        out.append((np.flatnonzero(hits == 0), np.flatnonzero(hits == size)))
    return out


def over_splits(
    x: np.ndarray, y: np.ndarray, groups: Sequence[str], mapping: Mapping = "logistic4", count: int = SPLITS
) -> dict[str, Quartiles]:
    """SRCC, and PLCC after a mapping fitted on the same clips, on the test side of `content_splits`.

    For predictions of a model that saw none of the contents; one trained on them needs a training per split.
    """
    contents = len({p for g in content_parts(groups) for p in g})
    if contents < LEAST_GROUPS:
        nothing = Quartiles(note=f"{contents} contents, at least {LEAST_GROUPS} needed for splits")
        return {"srcc": nothing, "plcc_mapped": nothing}
    values: dict[str, list[float]] = {"srcc": [], "plcc_mapped": []}
    why = ""
    for _, test in content_splits(groups, count):
        a, b = x[test], y[test]
        reason = undefined(a, b)
        if reason:
            why = f"a split was left out: {reason}"
            continue
        values["srcc"].append(spearman(a, b))
        found = fit(a, b, mapping)
        values["plcc_mapped"].append(pearson(a if found.straight else found.curve(a), b))
    return {name: _quartiles(v, why) for name, v in values.items()}


def _quartiles(values: list[float], why: str) -> Quartiles:
    if not values:
        return Quartiles(note=why)
    low, median, high = (round(float(q), 4) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return Quartiles(median=median, low=low, high=high, splits=len(values), note=why)
