"""Readings -> tables: offset classes, confusion, detection curves, false alarms, mismatch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.answers import wilson
from eval.stats import Number, area, number
from eval.sync.psychometric import Curve, fit
from eval.sync.read import PREDICTORS, Reading, Said
from eval.sync.truth import ACCEPTABLE, CLASSES, DETECTABLE, DIFFICULTIES, zone

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
