"""Readings -> tables: offset classes, confusion, detection curves and their 50 % points, false alarms, mismatch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from eval.stats import LEAST, Number, area, bootstrap, content_parts, number, wilson
from eval.sync.read import PREDICTORS, Reading, Said
from eval.sync.truth import ACCEPTABLE, CLASSES, DETECTABLE, DIFFICULTIES, zone

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


Row = dict[str, Any]
SIDES = {"early": -1, "late": 1}


def sync_tables(readings: Sequence[Reading]) -> list[Row]:
    """All rows; "table": detection, classes, confusion, curve, false_alarms or mismatch; "predictor": whose."""
    return [row for make in (detection, classes, confusion, curves, false_alarms, mismatch) for row in make(readings)]


def _said(readings: Sequence[Reading], predictor: str) -> list[tuple[Reading, Said]]:
    return [(r, r.said[predictor]) for r in readings if predictor in r.said]


def _share(hits: int, n: int, name: str) -> Row:
    """A share with Wilson's 95 % interval; None and a note without clips."""
    if not n:
        return {name: None, f"{name}_low": None, f"{name}_high": None, "note": "no such clip"}
    low, high = wilson(hits, n)
    return {name: round(hits / n, 4), f"{name}_low": max(0.0, round(low, 4)), f"{name}_high": round(high, 4)}


def detection(readings: Sequence[Reading]) -> list[Row]:
    """auc: chance that a clip out of step, in whatever way, is doubted more than one in step. No criterion is used."""
    out: list[Row] = []
    for predictor in PREDICTORS:
        found = _said(readings, predictor)
        odd = [(r, s) for r, s in found if r.truth.kind != "in_step"]
        calm = [(r, s) for r, s in found if r.truth.kind == "in_step"]
        auc = _auc(odd, calm, "no clip out of step")
        row: Row = {"table": "detection", "predictor": predictor, "n": len(odd), "in_step": len(calm)}
        out.append(row | {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high, "note": auc.note})
    return out


def classes(readings: Sequence[Reading]) -> list[Row]:
    """Per offset class: accuracy of "out of step or not", and of the direction where it is named.

    Sound out of step by less than viewers detect counts as out of step all the same; `zone` says so (BT.1359-1).
    """
    out: list[Row] = []
    for predictor in PREDICTORS:
        parts: dict[str, list[tuple[Reading, Said]]] = {}
        for r, s in sorted(_said(readings, predictor), key=lambda rs: _order(rs[0])):
            parts.setdefault(r.truth.name, []).append((r, s))
        for name, found in parts.items():
            truth = found[0][0].truth
            right = sum(s.out == (truth.kind != "in_step") for _, s in found)
            named = sum(s.kind == truth.kind for _, s in found)
            row = {"table": "classes", "predictor": predictor, "class": name, "offset": truth.offset, "n": len(found)}
            row["zone"] = None if truth.offset is None else zone(truth.offset)
            row |= _share(right, len(found), "accuracy")
            if any(s.kind is not None for _, s in found):
                row |= _share(named, len(found), "named")
            if predictor == "fact":
                row["measured"] = sum(s.measured for _, s in found)
            out.append(row)
    return out


def _order(r: Reading) -> tuple[int, float, str]:
    return CLASSES.index(r.truth.kind), abs(r.truth.offset or 0.0), r.truth.variant


def confusion(readings: Sequence[Reading]) -> list[Row]:
    """Per true class how often each class is named; for the score, which names none, in step or out of it."""
    out: list[Row] = []
    for predictor in PREDICTORS:
        found = _said(readings, predictor)
        for kind in CLASSES:
            told = Counter(s.kind or ("out" if s.out else "in_step") for r, s in found if r.truth.kind == kind)
            if told:
                out.append({"table": "confusion", "predictor": predictor, "true": kind, "said": dict(told)})
    return out


def curve(readings: Sequence[Reading], predictor: str, side: str) -> tuple[Curve, list[tuple[float, int, int]]]:
    """The fitted curve of one direction and its points: (|offset| in ms, called out of step, clips)."""
    sign = SIDES[side]
    used = [
        (abs(r.truth.offset), s.out, r.group)
        for r, s in _said(readings, predictor)
        if r.truth.offset is not None and (r.truth.kind in ("in_step", side)) and sign * r.truth.offset >= 0
    ]
    by_size: dict[float, list[bool]] = {}
    for size, called, _ in sorted(used):
        by_size.setdefault(size, []).append(called)
    fitted = fit([u[0] for u in used], [u[1] for u in used], [u[2] for u in used])
    return fitted, [(size, sum(c), len(c)) for size, c in by_size.items()]


def curves(readings: Sequence[Reading]) -> list[Row]:
    """Thresholds per direction, in ms of that direction, beside the lines of ITU-R BT.1359-1."""
    out: list[Row] = []
    for predictor in PREDICTORS:
        for side, place in (("early", 0), ("late", 1)):
            found, points = curve(readings, predictor, side)
            out.append(
                {
                    "table": "curve", "predictor": predictor, "side": side, "n": sum(n for *_, n in points),
                    "threshold": _rounded(found.threshold, 1), "low": _rounded(found.low, 1),
                    "high": _rounded(found.high, 1), "slope": _rounded(found.slope, 5), "note": found.note,
                    "detectable": abs(DETECTABLE[place]), "acceptable": abs(ACCEPTABLE[place]),
                    "points": [{"offset": x, "out": k, "n": n} for x, k, n in points],
                }
            )  # fmt: skip
    return out


def false_alarms(readings: Sequence[Reading]) -> list[Row]:
    """Share of clips in step that are called out of step: without any fault, with faults of another kind, all."""
    out: list[Row] = []
    cuts = {"clean": (True,), "other faults": (False,), "all in step": (True, False)}
    for predictor in PREDICTORS:
        calm = [(r, s) for r, s in _said(readings, predictor) if r.truth.kind == "in_step"]
        for name, kept in cuts.items():
            found = [s.out for r, s in calm if r.truth.clean in kept]
            row = {"table": "false_alarms", "predictor": predictor, "clips": name, "n": len(found)}
            out.append(row | _share(sum(found), len(found), "rate"))
    return out


def mismatch(readings: Sequence[Reading]) -> list[Row]:
    """Sound that does not belong, by difficulty (AVTS: Korbar, Tran, Torresani, 2018), against clips in step.

    auc: chance that an unrelated clip is doubted more than one in step; detected: called out of step; named:
    called unrelated.
    """
    out: list[Row] = []
    for predictor in PREDICTORS:
        found = _said(readings, predictor)
        calm = [(r, s) for r, s in found if r.truth.kind == "in_step"]
        for difficulty in (*DIFFICULTIES, "all"):
            odd = [
                (r, s) for r, s in found if r.truth.kind == "unrelated" and difficulty in (r.truth.variant, "all")
            ]  # fmt: skip
            auc = _auc(odd, calm, "no unrelated clip")
            row: Row = {"table": "mismatch", "predictor": predictor, "difficulty": difficulty, "n": len(odd)}
            row |= {"in_step": len(calm), "auc": auc.value, "auc_low": auc.low, "auc_high": auc.high}
            row |= _share(sum(s.out for _, s in odd), len(odd), "detected")
            if any(s.kind is not None for _, s in odd) and predictor != "fact":
                row |= _share(sum(s.kind == "unrelated" for _, s in odd), len(odd), "named")
            if auc.note:
                row["note"] = auc.note
            out.append(row)
    return out


def _auc(odd: Sequence[tuple[Reading, Said]], calm: Sequence[tuple[Reading, Said]], none: str) -> Number:
    if not odd or not calm:
        return Number(note=none if not odd else "no clip in step")
    both = [*odd, *calm]
    wrong = np.array([1.0] * len(odd) + [0.0] * len(calm))
    return number(_area, np.array([s.worse for _, s in both]), wrong, groups=[r.group for r, _ in both], draws=300)


def _area(worse: np.ndarray, wrong: np.ndarray) -> float:
    found = area(worse[wrong == 1], worse[wrong == 0])
    return float("nan") if found is None else found


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
