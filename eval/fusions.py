"""Overall quality from a score of the sound and one of the picture: the formulas of the field, and their clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.joining import ColumnNames, Entry, join, named, read_labels, read_predictions, single
from eval.joining.columns import account
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import Scale
from mllm_avqa.schema.records import read_records

FIVE = (1.0, 5.0)


@dataclass(frozen=True)
class Scored:
    """Clips with both scores and a label, all on 1-5. [n]"""

    a: np.ndarray
    v: np.ndarray
    y: np.ndarray
    groups: list[str]
    notes: list[str] = field(default_factory=list)


def read_scored(
    labels: Path,
    pred: Path | None = None,
    *,
    columns: ColumnNames = ColumnNames(),
    pred_columns: Sequence[str] = (),
    scale: tuple[float, float] = FIVE,
    pred_scale: tuple[float, float] = FIVE,
) -> Scored:
    """A, V and overall of every clip that has all three; A and V from `pred` when given, else from the labels.

    Raises ConfigError for unreadable files, labels outside `scale`, and when no clip has all three.
    """
    if scale != FIVE and _holds_records(labels):
        raise ConfigError(f"{labels} is a record file, which knows its scales: leave --scale out")
    wanted, notes = single(read_labels(labels, columns), labels.name)
    falls = bool(columns.lower_is_better)
    if pred is None:
        pairs: list[tuple[Entry, Entry | None]] = [(e, e) for e in wanted]
        # `account` says the same where predictions are joined
        if all(e.group is None for e in wanted):
            notes.append("no content groups: every clip counts as a content of its own (--group)")
    else:
        given, told = read_predictions(pred, ColumnNames(id=columns.id, scores=tuple(pred_columns)))
        joined = join(given, wanted)
        notes += told + account(joined, given, wanted, pred, labels)
        pairs = joined.pairs
    kept = [
        (k, label, s)
        for k, (label, s) in enumerate(pairs)
        if s is not None and "overall" in label.values and {"audio", "video"} <= set(s.values)
    ]
    if not kept:
        raise ConfigError(
            f"{labels}: no clip has overall, audio and video scores; name the columns with --label-column "
            "overall=COLUMN --label-column audio=COLUMN --label-column video=COLUMN (--pred-column for predictions)"
        )
    lost = [label.name for k, (label, _) in enumerate(pairs) if k not in {i for i, _, _ in kept}]
    if lost:
        notes.append(f"{named(lost)} without all of overall, audio and video: left out")
    y = _to_five([e.values["overall"] for _, e, _ in kept], scale, falls)
    a, v = (
        _to_five([s.values[m] for _, _, s in kept], scale if pred is None else pred_scale, falls and pred is None)
        for m in ("audio", "video")
    )
    for name, column in (("overall", y), ("audio", a), ("video", v)):
        low, high = float(column.min()), float(column.max())
        if low >= 1 - 1e-9 and high <= 5 + 1e-9:
            continue
        if name == "overall" or pred is None:
            s = Scale(*scale, not falls)
            raise ConfigError(
                f"{labels}: {name} reaches from {s.from_five(low):g} to {s.from_five(high):g}, outside the scale "
                f"{scale[0]:g}..{scale[1]:g}: say the study's with --scale LOW HIGH"
            )
        beyond = int(((column < 1) | (column > 5)).sum())
        notes.append(f"{name}: {beyond} predictions beyond the scale count as its end (--pred-scale)")
    groups = [label.group if label.group is not None else f"clip {k}" for k, label, _ in kept]
    return Scored(np.clip(a, 1, 5), np.clip(v, 1, 5), np.clip(y, 1, 5), groups, notes)


def _to_five(values: list[float], scale: tuple[float, float], falls: bool) -> np.ndarray:
    """Falling labels arrive negated from the joining room."""
    s = Scale(*scale, not falls)
    return np.array([s.to_five(-x if falls else x) for x in values])


def _holds_records(path: Path) -> bool:
    if path.suffix.lower() != ".jsonl":
        return False
    try:
        next(read_records(path), None)
    except ConfigError:
        return False
    return True


Array = np.ndarray
Predict = Callable[[Array, Array], Array]
SEED = 0
P1203 = (-0.00069084, 0.15374283, 0.97153861, 0.02461776)  # av1 .. av4
REFERENCE = "linear"  # what the others are compared with


@dataclass(frozen=True)
class Fitted:
    """A fusion with its numbers. predict(A, V): [n], [n] -> [n]."""

    predict: Predict
    coefficients: dict[str, float]
    note: str = ""


@dataclass(frozen=True)
class Fusion:
    """fit(A, V, overall), all [n] on 1-5 -> Fitted. Equal clips give equal numbers."""

    name: str
    formula: str
    source: str
    fit: Callable[[Array, Array, Array], Fitted]


# ---- linear in their coefficients ---------------------------------------------------------------------------------


def _least_squares(columns: Callable[[Array, Array], list[Array]]) -> Callable[[Array, Array, Array], Fitted]:
    """overall = a + b * column 1 + c * column 2 ..., by ordinary least squares."""

    def design(a: Array, v: Array) -> Array:
        return np.stack([np.ones_like(a), *columns(a, v)], axis=1)

    def fit(a: Array, v: Array, y: Array) -> Fitted:
        x = design(a, v)
        beta, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
        note = "" if rank == x.shape[1] else "coefficients are not determined: the terms depend on each other"
        names = "abcd"[: x.shape[1]]
        return Fitted(lambda p, q: design(p, q) @ beta, dict(zip(names, beta.tolist(), strict=True)), note)

    return fit


def _p1203(a: Array, v: Array, y: Array) -> Fitted:
    names = dict(zip(("av1", "av2", "av3", "av4"), P1203, strict=True))
    return Fitted(p1203, names)


def p1203(a: Array, v: Array) -> Array:
    """Audiovisual quality per second O.34 of ITU-T P.1203.3 (clause 8.1) from O.21 (A) and O.22 (V), all on 1-5."""
    av1, av2, av3, av4 = P1203
    return np.clip(av1 + av2 * a + av3 * v + av4 * a * v, 1.0, 5.0)


# ---- the others -----------------------------------------------------------------------------------------------------


def power_mean(a: Array, v: Array, w: float, p: float) -> Array:
    """(w A^p + (1 - w) V^p)^(1/p); its limit A^w V^(1-w) for p = 0. a, v > 0, [n]."""
    d = np.log(a) - np.log(v)
    return np.asarray(v * np.exp(w * d if p == 0 else np.log1p(w * np.expm1(p * d)) / p))


def _minkowski(a: Array, v: Array, y: Array) -> Fitted:
    from scipy.optimize import least_squares

    found = [
        least_squares(
            lambda c: power_mean(a, v, c[0], c[1]) - y, [0.5, p], bounds=([0.0, -20.0], [1.0, 20.0]), x_scale=[0.1, 1]
        )
        for p in (-3.0, 0.5, 3.0)  # several starts: the error has more than one valley
    ]
    w, p = (float(c) for c in min(found, key=lambda f: f.cost).x)
    edge = "p is at the end of its range: nearly the better or the worse of the two" if abs(p) > 19.9 else ""
    return Fitted(lambda q, r: power_mean(q, r, w, p), {"w": w, "p": p}, edge)


def _power(a: Array, v: Array, y: Array) -> Fitted:
    from scipy.optimize import least_squares

    logs = np.stack([np.ones_like(a), np.log(a), np.log(v)], axis=1)
    first = np.linalg.lstsq(logs, np.log(y), rcond=None)[0]
    first[0] = np.exp(first[0])
    a0, b, c = (float(k) for k in least_squares(lambda k: k[0] * a ** k[1] * v ** k[2] - y, first).x)
    return Fitted(lambda q, r: a0 * q**b * r**c, {"a": a0, "b": b, "c": c})


def _svr(a: Array, v: Array, y: Array) -> Fitted:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    model = make_pipeline(StandardScaler(), SVR(C=1.0, epsilon=0.1))
    model.fit(np.stack([a, v], axis=1), y)
    vectors = float(len(model[-1].support_))
    return Fitted(
        lambda q, r: np.asarray(model.predict(np.stack([q, r], axis=1))),
        {"C": 1.0, "epsilon": 0.1, "support vectors": vectors},
    )


def _forest(a: Array, v: Array, y: Array) -> Fitted:
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(100, min_samples_leaf=5, random_state=SEED).fit(np.stack([a, v], axis=1), y)
    sound, picture = (float(x) for x in model.feature_importances_)
    return Fitted(
        lambda q, r: np.asarray(model.predict(np.stack([q, r], axis=1))),
        {"importance A": sound, "importance V": picture},
    )


PINSON = 'Pinson, Ingram, Webster, "Audiovisual quality components", IEEE Signal Processing Magazine 28 (2011)'
FUSIONS: tuple[Fusion, ...] = (
    Fusion("video only", "a + b V", "what the sound adds is measured against it", _least_squares(lambda a, v: [v])),
    Fusion("audio only", "a + b A", "what the picture adds is measured against it", _least_squares(lambda a, v: [a])),
    Fusion("linear", "a + b A + c V", PINSON, _least_squares(lambda a, v: [a, v])),
    Fusion("product", "a + b A V", PINSON, _least_squares(lambda a, v: [a * v])),
    Fusion("Pinson", "a + b A + c V + d A V", PINSON, _least_squares(lambda a, v: [a, v, a * v])),
    Fusion("Minkowski", "(w A^p + (1 - w) V^p)^(1/p)", "weighted power mean", _minkowski),
    Fusion("power", "a A^b V^c", "weighted product", _power),
    Fusion("SVR", "support vectors, radial basis", "Smola and Schoelkopf, Statistics and Computing 14 (2004)", _svr),
    Fusion("forest", "random forest, 100 trees", "Breiman, Machine Learning 45 (2001)", _forest),
    Fusion("P.1203.3", "clip(av1 + av2 A + av3 V + av4 A V, 1, 5)", "ITU-T P.1203.3 (2019), not fitted", _p1203),
)
