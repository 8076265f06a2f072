"""From which offset on a clip is called out of step: a logistic curve per direction and its 50 % point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from eval.stats import LEAST, bootstrap, content_parts

SCALE = 100.0  # ms: offsets are fitted in this unit
LEAST_OFFSETS = 3  # different sizes, 0 included
DRAWS = 200


@dataclass(frozen=True)
class Curve:
    """P(out of step) = 1 / (1 + exp(-slope (|offset| - middle))); slope per ms. threshold: where it is 50 %.

    threshold is None with the reason in `note`; low, high: its 95 % interval over contents.
    """

    threshold: float | None = None
    middle: float | None = None
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def at(self, offset: np.ndarray) -> np.ndarray | None:
        """Probability at |offset| in ms; None where there is no curve."""
        if self.middle is None or self.slope is None:
            return None
        return np.asarray(expit(self.slope * (offset - self.middle)))


def fit(sizes: Sequence[float], out: Sequence[bool], groups: Sequence[str]) -> Curve:
    """Maximum likelihood (Wichmann and Hill, Perception & Psychophysics 63, 2001, without guess and lapse rates).

    sizes: |offset| in ms of the clips, those in step (0) included; out: whether they were called out of step. False
    alarms are part of the curve: a rater that calls half of all clips out of step has no threshold.
    """
    x, y = np.asarray(sizes, float), np.asarray(out, float)
    if len(x) < LEAST:
        return Curve(note=f"{len(x)} clips, at least {LEAST} needed")
    if len(np.unique(x)) < LEAST_OFFSETS:
        return Curve(note=f"{len(np.unique(x))} different offsets, at least {LEAST_OFFSETS} needed")
    if y.min() == y.max():
        return Curve(note="every clip is called out of step" if y.max() else "no clip is called out of step")
    below, above = x[y == 0].max(), x[y == 1].min()
    if below < above:
        return Curve(threshold=float(below + above) / 2, note=f"a step: none up to {below:g} ms, all from {above:g} ms")
    middle, slope = _fitted(x, y)
    if slope <= 0:
        return Curve(note="answers do not rise with the offset")
    curve = Curve(middle=middle, slope=slope)
    if middle <= 0:
        return Curve(middle=middle, slope=slope, note="more than half are called out of step at 0 ms already")
    if middle > x.max():
        return Curve(middle=middle, slope=slope, note=f"beyond the largest offset, {x.max():g} ms")
    found = bootstrap(_middle, [x, y], content_parts(groups), DRAWS)
    low, high, note = (None, None, found) if isinstance(found, str) else (*found, "")
    return Curve(curve.middle, curve.middle, curve.slope, low, high, note)


def _fitted(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(middle in ms, slope per ms). A hundredth of a squared coefficient keeps separable draws finite."""
    design = np.stack([np.ones_like(x), x / SCALE])

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        z = b @ design
        penalty = 0.01 * b[1]
        return float(np.logaddexp(0, z).sum() - y @ z + penalty * b[1] / 2), design @ (expit(z) - y) + [0, penalty]

    b = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return (float(-b[0] / b[1] * SCALE), float(b[1] / SCALE)) if b[1] > 1e-9 else (float("nan"), 0.0)


def _middle(x: np.ndarray, y: np.ndarray) -> float:
    return _fitted(x, y)[0]
