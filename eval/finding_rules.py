"""Temperature, bias and threshold of findings, from clips whose faults are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from eval.calibration import calibration_error
from eval.held_out import HeldOut
from mllm_avqa.corridor import lowest
from mllm_avqa.model.findings import Asked, ask, calibrated, scored, shares, weighed
from mllm_avqa.model.truth import listed
from mllm_avqa.rater import Rater
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.rating import Rating
from mllm_avqa.windows import worst_evidence

BETA = 0.5  # of the F score that chooses the threshold: a fault that is not there is worse than one left out
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.02), 2)
BEARINGS = (0.0, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Listed:
    """A side of a clip: what the model says, what the facts say of it, and the kinds that are there."""

    asked: Asked
    bearing: np.ndarray  # [kinds]
    open: np.ndarray  # [kinds], not refuted
    true: frozenset[str]

    def there(self) -> np.ndarray:
        return np.array([k in self.true for k in self.asked.kinds])


def listing(rater: Rater, clip: HeldOut, language: str, kinds: Sequence[str]) -> list[Listed]:
    """What the rater says of the sides of a clip's worst window whose faults are known. kinds: all it was taught."""
    encoded = rater.corridor.encode_clip(clip.windows, language)
    p = clip.windows[lowest(encoded.window_scores)]
    rating = Rating(
        path=clip.record.media,
        scores=dict(encoded.scores),
        evidence=worst_evidence(w.evidence for w in clip.windows),
        media=p.info,
        language=language,
    )
    sides = [s for s in scored(rating) if s in clip.record.labels and listed(clip.record, s)]
    likelihoods = partial(rater.corridor.likelihoods, encoded.worst)
    out = []
    for asked in ask(likelihoods, sides, FindingRules(kinds=tuple(kinds)), language, p.end - p.start):
        bearing, refuted = weighed(asked, rating, language)
        there = frozenset(d.kind for d in clip.record.distortions if d.modality == asked.side)
        out.append(Listed(asked, bearing, np.array([r is None for r in refuted], bool), there))
    return out


def fitted(sides: Sequence[Listed]) -> FindingRules:
    """The rules that suit these sides best. Platt scaling of the log-odds (Platt 1999); threshold by F_0.5."""
    kinds = tuple(k for k in fault_kinds() if any(k in s.asked.kinds for s in sides))
    best: tuple[float, FindingRules] | None = None
    for bearing in BEARINGS:
        rules = FindingRules(kinds=kinds, bearing=bearing)
        raw, there = pooled(sides, rules)
        slope, bias = _platt(raw, there)
        rules = rules.model_copy(update={"temperature": round(1 / slope, 4), "bias": round(bias, 4)})
        p = calibrated(raw, rules)
        f, threshold = max((_f_beta(p >= t, there), float(t)) for t in THRESHOLDS)
        rules = rules.model_copy(update={"threshold": threshold})
        if best is None or f > best[0]:
            best = f, rules
    assert best is not None
    return best[1]


def pooled(sides: Sequence[Listed], rules: FindingRules) -> tuple[np.ndarray, np.ndarray]:
    """Raw probabilities of all kinds of all sides, and whether each is there."""
    raw = [shares(s.asked, s.bearing, s.open, rules) for s in sides]
    return np.concatenate(raw), np.concatenate([s.there() for s in sides])


def numbers(sides: Sequence[Listed], rules: FindingRules) -> dict[str, float]:
    """What the rules are worth on these sides: the likeliest kind, precision, recall, calibration error."""
    raw, there = pooled(sides, rules)
    p = calibrated(raw, rules)
    said = p >= rules.threshold
    faulty = [s for s in sides if s.there().any()]
    first = [s.there()[int(np.argmax(shares(s.asked, s.bearing, s.open, rules)))] for s in faulty]
    return {
        "sides": len(sides),
        "top1": round(float(np.mean(first)), 4) if first else 0.0,
        "precision": round(float(there[said].mean()), 4) if said.any() else 0.0,
        "recall": round(float(said[there].mean()), 4) if there.any() else 0.0,
        "ece": round(calibration_error(p, there.astype(float))[0], 4),
    }


def _f_beta(said: np.ndarray, there: np.ndarray) -> float:
    hits, both = float((said & there).sum()), BETA**2 * there.sum() + said.sum()
    return (1 + BETA**2) * hits / both if both else 0.0


def _platt(raw: np.ndarray, there: np.ndarray, steps: int = 200) -> tuple[float, float]:
    """Slope and bias of the logistic regression on log-odds: Newton steps of length 1 at most, and a little ridge."""
    p = np.clip(raw, 1e-6, 1 - 1e-6)
    x = np.stack([np.log(p / (1 - p)), np.ones(len(p))], 1)
    w = np.array([1.0, 0.0])
    for _ in range(steps):
        q = 1 / (1 + np.exp(-np.clip(x @ w, -50, 50)))
        step = np.linalg.solve((x * (q * (1 - q))[:, None]).T @ x + 1e-2 * np.eye(2), x.T @ (q - there) + 1e-2 * w)
        w = w - step / max(1.0, float(np.linalg.norm(step)))
    return max(0.05, float(w[0])), float(w[1])
