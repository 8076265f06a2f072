"""The windows of a clip taken together: scores, evidence, seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mllm_avqa.model.scoring import summarise
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.windows import Prepared


def pool_windows(scores: list[ScoreDistribution], worst: float) -> ScoreDistribution:
    """(1 - worst) x mean of the windows + worst x lowest window, on the whole distribution."""
    table = np.array([[s.probs[w] for w in WORDS] for s in scores])
    low = table[int(np.argmin([s.score for s in scores]))]
    return summarise((1 - worst) * table.mean(0) + worst * low, min(s.mass for s in scores))


def worst_evidence(windows: Sequence[Prepared]) -> list[Measurement]:
    """Per measure the window where it is most severe; spans of all windows are joined."""
    best: dict[tuple[str, str], Measurement] = {}
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for p in windows:
        for m in p.evidence:
            key = (m.modality, m.name)
            spans.setdefault(key, []).extend(m.spans)
            if key not in best or SEVERITIES.index(m.severity) > SEVERITIES.index(best[key].severity):
                best[key] = m
    return [m.model_copy(update={"spans": spans[k]}) for k, m in best.items()]


def add_seconds(total: dict[str, float], part: dict[str, float]) -> None:
    """Add the seconds of `part`, by room, to `total`."""
    for room, seconds in part.items():
        total[room] = total.get(room, 0.0) + seconds
