"""How well single-modality scores explain overall quality, over content-separated splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.baselines.fusions import FUSIONS, REFERENCE, Fitted, Fusion
from eval.baselines.scored import Scored
from eval.stats import (
    LEAST,
    LEAST_GROUPS,
    Number,
    Quartiles,
    Statistic,
    content_parts,
    content_splits,
    holm,
    number,
    paired_bootstrap,
    pearson,
    rmse,
    spearman,
    undefined,
)
from mllm_avqa.schema.errors import ConfigError

STATISTICS: dict[str, Statistic] = {"srcc": spearman, "plcc": pearson, "rmse": rmse}


class Coefficient(BaseModel):
    """Fitted on all clips, and its quartiles over the training sides of the splits."""

    model_config = ConfigDict(extra="forbid")

    value: float
    low: float
    high: float


class FusionResult(BaseModel):
    """One formula. `held_out`: every clip with the mean of the predictions it got while its content was held out."""

    model_config = ConfigDict(extra="forbid")

    name: str
    formula: str
    source: str
    coefficients: dict[str, Coefficient]
    splits: dict[str, Quartiles]  # srcc, plcc, rmse on the test sides
    held_out: dict[str, Number]  # the same over all clips, intervals by content
    gain: Number = Number()  # held-out SRCC minus that of the reference
    p: float | None = None  # of the gain, paired bootstrap, Holm-corrected
    note: str = ""


class FusionStudy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scores: str  # whose A and V: the labels' own, or a file of predictions
    clips: int
    held_out: int  # clips whose content was held out at least once
    contents: int
    splits: int
    reference: str = REFERENCE
    models: list[FusionResult]
    notes: list[str] = []


def study(data: Scored, splits: int = 10, draws: int = 1000, whose: str = "labels") -> FusionStudy:
    """Fit every formula on the training side of `splits` content-separated splits and measure it on the test side.

    Raises ConfigError for fewer contents than splits need.
    """
    parts = content_parts(data.groups)
    contents = len({p for g in parts for p in g})
    if contents < LEAST_GROUPS:
        raise ConfigError(f"{contents} contents, at least {LEAST_GROUPS} needed for splits by content (--group)")
    # Crossed contents (a picture with another clip's sound) leave some splits nearly empty.
    rows = [(train, test) for train, test in content_splits(data.groups, splits) if min(len(train), len(test)) >= LEAST]
    if not rows:
        raise ConfigError(
            f"{len(data.y)} clips of {contents} contents: no split has {LEAST} clips on both sides (--group)"
        )
    models: list[FusionResult] = []
    pooled: dict[str, np.ndarray] = {}
    tested = np.unique(np.concatenate([test for _, test in rows]))
    for fusion in FUSIONS:
        result, mean = _over_splits(fusion, data, rows)
        y, groups = data.y[tested], [data.groups[i] for i in tested]
        pooled[fusion.name] = mean[tested]
        result.held_out = {k: number(s, mean[tested], y, groups=groups, draws=draws) for k, s in STATISTICS.items()}
        models.append(result)
    _gains(models, pooled, data.y[tested], [parts[i] for i in tested], draws)
    return FusionStudy(
        scores=whose,
        clips=len(data.y),
        held_out=len(tested),
        contents=contents,
        splits=len(rows),
        models=models,
        notes=data.notes,
    )


def _over_splits(
    fusion: Fusion, data: Scored, rows: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[FusionResult, np.ndarray]:
    """The result without its pooled numbers, and the mean held-out prediction of every clip (NaN: never held out)."""
    total, times = np.zeros(len(data.y)), np.zeros(len(data.y))
    values: dict[str, list[float]] = {k: [] for k in STATISTICS}
    fits: list[Fitted] = []
    why = ""
    for train, test in rows:
        fitted = fusion.fit(data.a[train], data.v[train], data.y[train])
        fits.append(fitted)
        guess = fitted.predict(data.a[test], data.v[test])
        total[test] += guess
        times[test] += 1
        reason = undefined(guess, data.y[test])
        if reason:
            why = f"a split was left out: {reason}"
            continue
        for k, statistic in STATISTICS.items():
            values[k].append(statistic(guess, data.y[test]))
    whole = fusion.fit(data.a, data.v, data.y)
    result = FusionResult(
        name=fusion.name,
        formula=fusion.formula,
        source=fusion.source,
        coefficients={k: _coefficient(x, [f.coefficients[k] for f in fits]) for k, x in whole.coefficients.items()},
        splits={k: _quartiles(x, why) for k, x in values.items()},
        held_out={},
        note=whole.note,
    )
    with np.errstate(invalid="ignore"):
        return result, total / times


def _coefficient(value: float, over: list[float]) -> Coefficient:
    low, high = np.quantile(over, [0.25, 0.75])
    return Coefficient(value=value, low=float(low), high=float(high))


def _quartiles(values: list[float], why: str) -> Quartiles:
    if not values:
        return Quartiles(note=why)
    low, median, high = (round(float(q), 4) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return Quartiles(median=median, low=low, high=high, splits=len(values), note=why)


def _gains(
    models: list[FusionResult],
    pooled: dict[str, np.ndarray],
    y: np.ndarray,
    parts: Sequence[tuple[str, ...]],
    draws: int,
) -> None:
    """Is a formula better than the reference on the same clips? Fills `gain` and `p`."""
    others = [m for m in models if m.name != REFERENCE]
    p: list[float | None] = []
    for m in others:
        pair = pooled[m.name], pooled[REFERENCE]
        why = undefined(pair[0], y) or undefined(pair[1], y)
        found = why or paired_bootstrap(spearman, *pair, y, parts, draws)
        if isinstance(found, str):
            m.gain = Number(note=found)
            p.append(None)
            continue
        difference = spearman(pair[0], y) - spearman(pair[1], y)
        m.gain = Number(value=round(difference, 4), low=round(found[0], 4), high=round(found[1], 4))
        p.append(found[2])
    for m, corrected in zip(others, holm(p), strict=True):
        m.p = corrected
