"""Conformal intervals of a checkpoint's scores, and how far its level probabilities can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.joining import record_entry
from eval.stats import Number, average
from eval.writing import signed, table
from mllm_avqa.schema.calibration import LEAST_STD, Calibration
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.schema.records import Record

BINS = 10


@dataclass(frozen=True)
class Judged:
    """One aspect of several clips. score, std, label: [n] on 1-5; probs, target: [n, 5], order of `levels.WORDS`."""

    score: np.ndarray
    std: np.ndarray
    label: np.ndarray
    probs: np.ndarray
    target: np.ndarray
    groups: list[str]

    @classmethod
    def of(cls, found: Sequence[tuple[Record, ScoreDistribution]], aspect: str) -> Judged:
        return cls(
            score=np.array([s.score for _, s in found]),
            std=np.array([s.std for _, s in found]),
            label=np.array([record_entry(r).values[aspect] for r, _ in found]),
            probs=np.array([[s.probs[w] for w in WORDS] for _, s in found]).reshape(-1, len(WORDS)),
            target=np.array([r.labels[aspect].levels() for r, _ in found]).reshape(-1, len(WORDS)),
            groups=[r.group for r, _ in found],
        )


class Bin(BaseModel):
    """Clips whose likeliest level has a probability in one tenth of 0-1."""

    model_config = ConfigDict(extra="forbid")

    n: int
    confidence: float  # mean probability of the likeliest level
    share: float  # mean share of votes that level got


class AspectCalibration(BaseModel):
    """One aspect: what the calibration split gave, and what it is worth on the test split."""

    model_config = ConfigDict(extra="forbid")

    aspect: str
    language: str
    calibrated: int  # clips
    quantile: float | None = None  # in predicted standard deviations
    test: int = 0
    coverage: Number = Number()  # share of labels inside; interval by content
    thirds: list[float] = []  # coverage among low, middle and high scores
    width: float | None = None  # mean, after the ends of the scale cut it
    constant_coverage: float | None = None  # the same for one half width for all clips
    constant_width: float | None = None
    ece: float | None = None  # of the likeliest level
    ece_levels: float | None = None  # mean over the five levels
    bins: list[Bin] = []
    note: str = ""


class Calibrated(BaseModel):
    model_config = ConfigDict(extra="forbid")

    checkpoint: str
    weights: str
    coverage: float
    records: dict[str, object]
    aspects: list[AspectCalibration]
    failed: dict[str, str]
    notes: list[str] = []
    findings: FindingRules | None = None  # None: nothing is known of faults, or the checkpoint lists none

    def calibration(self) -> Calibration:
        """What the card keeps. Raises ConfigError when no aspect could be calibrated."""
        quantiles: dict[str, dict[str, float]] = {}
        tested: dict[str, dict[str, object]] = {}
        for a in self.aspects:
            if a.quantile is not None:
                quantiles.setdefault(a.language, {})[a.aspect] = a.quantile
                tested.setdefault(a.language, {})[a.aspect] = {
                    "coverage": a.coverage.value,
                    "coverage_95": [a.coverage.low, a.coverage.high] if a.coverage.low is not None else None,
                    "width": a.width,
                    "ece": a.ece,
                    "ece_levels": a.ece_levels,
                    "n": a.test,
                    "calibrated": a.calibrated,
                }
        if not quantiles:
            raise ConfigError(f"nothing to write: {'; '.join(a.note for a in self.aspects) or 'no aspects'}")
        return Calibration(
            coverage=self.coverage,
            quantiles=quantiles,
            weights=self.weights,
            measured={"records": self.records, "test": tested},
        )


# ---- numbers --------------------------------------------------------------------------------------------------------


def conformal_quantile(residuals: np.ndarray, coverage: float) -> float | None:
    """The ceil((n + 1) coverage)-th smallest of n residuals; None where n is too small for one to exist.

    An exchangeable clip stays below it with a probability of at least `coverage` (Vovk, Gammerman, Shafer 2005; Lei et
    al. 2018, theorem 2.2).
    """
    k = math.ceil((len(residuals) + 1) * coverage - 1e-9)
    return float(np.sort(residuals)[k - 1]) if k <= len(residuals) else None


def calibration_error(predicted: np.ndarray, observed: np.ndarray, bins: int = BINS) -> tuple[float, list[Bin]]:
    """Expected calibration error of probabilities [n] against shares [n], in equally wide bins; and the bins.

    Source: Guo, Pleiss, Sun, Weinberger, ICML 2017; "accuracy" is the share of votes, since voters differ.
    """
    place = np.clip((predicted * bins).astype(int), 0, bins - 1)
    found, error = [], 0.0
    for k in np.unique(place):
        inside = place == k
        confidence, share = float(predicted[inside].mean()), float(observed[inside].mean())
        error += inside.mean() * abs(confidence - share)
        found.append(Bin(n=int(inside.sum()), confidence=round(confidence, 4), share=round(share, 4)))
    return float(error), found


def aspect_calibration(
    calibrate: Judged, test: Judged, coverage: float, aspect: str, language: str = "en", draws: int = 1000
) -> AspectCalibration:
    """Quantile from one split, coverage, width and calibration error on the other."""
    out = AspectCalibration(aspect=aspect, language=language, calibrated=len(calibrate.label), test=len(test.label))
    off = np.abs(calibrate.label - calibrate.score)
    found = conformal_quantile(off / np.maximum(calibrate.std, LEAST_STD), coverage)
    constant = conformal_quantile(off, coverage)
    if found is None or constant is None:
        least = math.ceil(coverage / (1 - coverage) - 1e-9)
        out.note = f"{aspect}: {len(off)} clips to calibrate on, at least {least} needed for {100 * coverage:g} %"
        return out
    out.quantile = math.ceil(found * 1e4) / 1e4  # rounding must not cost coverage
    if not len(test.label):
        out.note = f"{aspect}: no test clip"
        return out
    inside, width = _hits(test, out.quantile * np.maximum(test.std, LEAST_STD))
    out.coverage = average(inside, test.groups, draws)
    order = np.argsort(test.score, kind="stable")
    out.thirds = [round(float(inside[part].mean()), 4) for part in np.array_split(order, 3) if len(part)]
    out.width = round(width, 4)
    same, wide = _hits(test, np.full(len(test.label), constant))
    out.constant_coverage, out.constant_width = round(float(same.mean()), 4), round(wide, 4)
    top = test.probs.argmax(axis=1)
    rows = np.arange(len(top))
    error, out.bins = calibration_error(test.probs[rows, top], test.target[rows, top])
    out.ece = round(error, 4)
    levels = [calibration_error(test.probs[:, k], test.target[:, k])[0] for k in range(len(WORDS))]
    out.ece_levels = round(float(np.mean(levels)), 4)
    return out


def _hits(test: Judged, half: np.ndarray) -> tuple[np.ndarray, float]:
    """Which labels are inside [n], 0 or 1, and the mean width."""
    low, high = np.maximum(1.0, test.score - half), np.minimum(5.0, test.score + half)
    inside = (test.label >= low - 1e-9) & (test.label <= high + 1e-9)
    return inside.astype(float), float((high - low).mean())


def markdown(found: Calibrated) -> str:
    """Intervals and calibration error as tables."""
    rows, errors = [], []
    for a in (a for a in found.aspects if a.quantile is not None):
        name = f"{a.aspect}, {a.language}"
        thirds = " ".join(f"{x:.2f}" for x in a.thirds)
        numbers = (_cell(x) for x in (a.width, a.constant_coverage, a.constant_width))
        cells = [_cell(a.quantile), signed(a.coverage, interval=True), thirds, *numbers]
        rows.append([name, *cells, f"{a.calibrated} / {a.test}"])
        errors.append([name, _cell(a.ece), _cell(a.ece_levels), *(_cell(x) for x in _sides(a))])
    head = ["aspect", "quantile", "coverage", "low, middle, high", "width", "coverage c", "width c", "clips"]
    return "\n\n".join(
        [
            table(head, rows),
            f"Intervals for {100 * found.coverage:g} % of labels: score ± quantile x predicted std (at least "
            f"{LEAST_STD:g}), cut at 1 and 5. Coverage (95 % interval bootstrapped over contents, then in "
            "thirds of the score) and mean width on the test clips; c: one width for all clips instead. Clips: "
            "calibration / test.",
            table(["aspect", "ECE", "ECE of all levels", "mean confidence", "mean share"], errors),
            "Expected calibration error of the likeliest level, and mean of all five levels, against shares of votes.",
            *_findings(found.findings),
        ]
    )


def _findings(rules: FindingRules | None) -> list[str]:
    """What the findings are worth, by split."""
    if rules is None:
        return []
    rows: list[list[str]] = []
    for split, values in rules.measured.items():
        assert isinstance(values, dict)
        rows.append([split, *(_cell(values[k]) for k in ("top1", "precision", "recall", "ece")), str(values["sides"])])
    told = f"temperature {rules.temperature:g}, bias {rules.bias:g}, bearing {rules.bearing:g}"
    return [
        table(["findings", "likeliest kind", "precision", "recall", "ECE", "sides"], rows),
        f"Faults held to be there, from a probability of {rules.threshold:g} on ({told}).",
    ]


def _sides(a: AspectCalibration) -> tuple[float | None, float | None]:
    """Mean confidence of the likeliest level and the mean share of votes it got."""
    n = sum(b.n for b in a.bins)
    if not n:
        return None, None
    return sum(b.n * b.confidence for b in a.bins) / n, sum(b.n * b.share for b in a.bins) / n


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
