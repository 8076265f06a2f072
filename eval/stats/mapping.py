"""Mappings of predictions onto the labels' scale. All but the line rise by construction: none hides a wrong direction.

Sources: VQEG FR-TV Phase I (2000) and II (2003) for the logistics, the 5-parameter one as in Sheikh, Sabir and Bovik
(IEEE TIP 15, 2006); ITU-T P.1401, 7.3 for the line and the monotonic cubic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from scipy.optimize import least_squares, nnls

from eval.stats.core import pearson

Mapping = Literal["none", "linear", "logistic4", "logistic5", "cubic"]
MAPPINGS: tuple[Mapping, ...] = ("none", "linear", "logistic4", "logistic5", "cubic")
PARAMETERS = {"none": 0, "linear": 2, "logistic4": 4, "logistic5": 5, "cubic": 4}
LONG_NAMES = {"logistic4": "4-parameter logistic", "logistic5": "5-parameter logistic", "cubic": "monotonic cubic"}
Curve = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fit:
    """A fitted mapping: `used` may be "linear" where `asked` was not to be had, then `why` says so."""

    asked: Mapping
    used: Mapping
    curve: Curve
    parameters: tuple[float, ...] = ()
    why: str = ""

    @property
    def straight(self) -> bool:
        """PLCC before and after differ in sign at most."""
        return self.used in ("none", "linear")

    @property
    def name(self) -> str:
        return f"{self.used} ({self.why})" if self.why else self.used


def fit(x: np.ndarray, y: np.ndarray, mapping: Mapping) -> Fit:
    """Least squares of y on the mapped x. x and y have at least two different values each. x, y: [n]"""
    return _kept(np.asarray(x, float).tobytes(), np.asarray(y, float).tobytes(), mapping)


@lru_cache(maxsize=64)
def _kept(x_bytes: bytes, y_bytes: bytes, mapping: Mapping) -> Fit:
    """Tables, comparisons and plots of one study ask for the same fits, and a search from nine starts takes long."""
    x, y = (np.frombuffer(b) for b in (x_bytes, y_bytes))
    if mapping == "none":
        return Fit(mapping, "none", lambda q: q)
    if mapping == "linear":
        return _line(x, y, mapping)
    if len(x) <= PARAMETERS[mapping] + 1:
        return _line(x, y, mapping, f"{len(x)} clips are too few for the {LONG_NAMES[mapping]}")
    found = {"logistic4": _logistic4, "logistic5": _logistic5, "cubic": _cubic}[mapping](x, y)
    if found is None:
        why = f"the {LONG_NAMES[mapping]} did not converge to something better than a line"
        return _line(x, y, mapping, why)
    parameters, curve = found
    return Fit(mapping, mapping, curve, tuple(float(p) for p in parameters))


def mapped(x: np.ndarray, y: np.ndarray, mapping: Mapping) -> tuple[np.ndarray, float, str]:
    """(predictions on the labels' scale, their PLCC, name of the mapping). A line keeps the sign of the raw PLCC."""
    found = fit(x, y, mapping)
    z = found.curve(x)
    return z, pearson(x if found.straight else z, y), found.name


def map_linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares line, evaluated at x."""
    return _line(x, y, "linear").curve(x)


def map_logistic4(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, str]:
    """Rising VQEG logistic b2 + (b1 - b2) / (1 + exp(-(x - b3) / b4)), least squares, bounded, from nine starts.

    Returns (mapped x, ""), or the linear mapping and the reason when no start converges to something better than it.
    """
    found = fit(x, y, "logistic4")
    return found.curve(x), found.why


def _line(x: np.ndarray, y: np.ndarray, asked: Mapping, why: str = "") -> Fit:
    slope, offset = (float(p) for p in np.polyfit(x, y, 1))
    return Fit(asked, "linear", lambda q: np.asarray(slope * q + offset), (offset, slope), why)


def _step(q: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(q, -60, 60))))


_Found = tuple[np.ndarray, Curve] | None
_Model = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _search(
    model: _Model,
    slopes: _Model | None,
    x: np.ndarray,
    y: np.ndarray,
    starts: Iterable[Sequence[float]],
    bounds: tuple[Sequence[float], Sequence[float]],
) -> _Found:
    """The best converged fit of all starts, or None when none is better than the line or all are flat.

    slopes: derivatives of the model by its parameters, [n, parameters]; None takes differences.
    """
    line = float(((map_linear(x, y) - y) ** 2).sum())
    best: np.ndarray | None = None
    error = line
    jacobian = "2-point" if slopes is None else lambda b: slopes(b, x)
    for start in starts:
        found = least_squares(lambda b: model(b, x) - y, start, jac=jacobian, bounds=bounds, max_nfev=500)
        if found.success and 2 * found.cost < error * (1 + 1e-9):
            best, error = found.x, 2 * float(found.cost)
    # A flat "curve" would map everything to one number and hide a wrong direction.
    if best is None or np.ptp(model(best, x)) < 1e-6 * float(np.ptp(y)) or error > line * (1 + 1e-9):
        return None
    chosen = best
    return chosen, lambda q: model(chosen, np.asarray(q, float))


def _logistic4(x: np.ndarray, y: np.ndarray) -> _Found:
    """Parameters: rise, floor, middle, width."""
    wide, tall = float(np.ptp(x)), float(np.ptp(y))
    low = [0.0, y.min() - tall, x.min() - wide, 0.01 * wide]
    high = [3 * tall, y.max() + tall, x.max() + wide, 10 * wide]
    starts = [[tall, y.min(), float(m), w * wide] for m in np.quantile(x, [0.25, 0.5, 0.75]) for w in (0.05, 0.2, 1.0)]

    def slopes(b: np.ndarray, q: np.ndarray) -> np.ndarray:
        u = (q - b[2]) / b[3]
        s = _step(u)
        steep = -b[0] * s * (1 - s) / b[3]
        return np.column_stack([s, np.ones_like(q), steep, steep * u])

    return _search(lambda b, q: b[1] + b[0] * _step((q - b[2]) / b[3]), slopes, x, y, starts, (low, high))


def _logistic5(x: np.ndarray, y: np.ndarray) -> _Found:
    """b1 (1/2 - 1/(1 + exp(b2 (x - b3)))) + b4 x + b5 with b1, b2, b4 >= 0, so that it rises."""
    wide, tall = float(np.ptp(x)), float(np.ptp(y))
    slope = tall / wide
    reach = 3 * slope * float(np.abs(x).max()) + tall
    low = [0.0, 0.1 / wide, x.min() - wide, 0.0, y.min() - reach]
    high = [3 * tall, 100 / wide, x.max() + wide, 3 * slope, y.max() + reach]
    starts = [
        [(1 - s) * tall, k / wide, float(m), s * slope, float(y.mean() - s * slope * x.mean())]
        for m in np.quantile(x, [0.25, 0.5, 0.75])
        for k, s in ((4.0, 0.05), (10.0, 0.5), (20.0, 0.05))
    ]

    return _search(
        lambda b, q: b[0] * (_step(b[1] * (q - b[2])) - 0.5) + b[3] * q + b[4], None, x, y, starts, (low, high)
    )


def _cubic(x: np.ndarray, y: np.ndarray) -> _Found:
    """Best cubic that rises over the range of x; outside it goes on as its tangent. A convex problem, so no starts.

    Quadratics that are nowhere negative on [-1, 1] are the sums of (u - r)^2, r in [-1, 1], and 1 - u^2 with weights
    >= 0; the slope of the cubic is fitted as such a sum. Parameters: coefficients of 1, u, u^2, u^3 over
    u = (x - middle) / half range.
    """
    middle, half = float(x.max() + x.min()) / 2, float(np.ptp(x)) / 2
    powers = np.vander((x - middle) / half, 4, increasing=True)
    c = np.linalg.lstsq(powers, y, rcond=None)[0]
    if polyval(np.linspace(-1, 1, 401), polyder(c)).min() < 0:
        roots = np.linspace(-1, 1, 401)
        flat = np.zeros_like(roots)
        # Integrals of (u - r)^2 and of 1 - u^2, and the offset with either sign, as columns of coefficients.
        rising = np.stack([flat, roots**2, -roots, flat + 1 / 3])
        basis = np.column_stack([rising, [0, 1, 0, -1 / 3], [1, 0, 0, 0], [-1, 0, 0, 0]])
        q, r = np.linalg.qr(powers)
        c = basis @ nnls(r @ basis, q.T @ y)[0]

    def model(q: np.ndarray) -> np.ndarray:
        u = (np.asarray(q, float) - middle) / half
        v = np.clip(u, -1.0, 1.0)
        return np.asarray(polyval(v, c) + (u - v) * polyval(v, polyder(c)))

    z = model(x)
    line = float(((map_linear(x, y) - y) ** 2).sum())
    if np.ptp(z) < 1e-6 * float(np.ptp(y)) or float(((z - y) ** 2).sum()) > line * (1 + 1e-9):
        return None
    return c, model
