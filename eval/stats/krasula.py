"""Can a model tell pairs apart that viewers tell apart, and does it say which one is better?

Source: Krasula, Fliegel, Le Callet, Klima, "On the accuracy of objective image and video quality models", QoMEX 2016.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import rankdata

from eval.stats.core import LEAST, Number

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
