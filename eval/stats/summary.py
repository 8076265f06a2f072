"""All numbers of one aspect: what a model card and a correlation table are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.stats.core import LEAST, Number, kendall, mean, pearson, spearman, undefined
from eval.stats.errors import rmse
from eval.stats.mapping import Mapping, mapped
from eval.stats.resample import Statistic, bootstrap, content_parts


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
