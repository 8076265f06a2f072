"""Beside the rows of a checkpoint's card: what simple regressions make of the same facts and of the same towers.

Every prediction is by a regression that saw no clip of that content. It learnt from the clips that are measured alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from eval import frozen
from eval.held_out import HeldOut
from eval.stats import Agreement, agreement
from eval.studies.features import LEAST_CLIPS, fit, matrix
from mllm_avqa.model.backbones.qwen2_5_omni import Qwen25Omni
from mllm_avqa.model.prompting import SEES
from mllm_avqa.model.scoring import on_device
from mllm_avqa.rater import Rater
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record
from mllm_avqa.windows import worst_evidence

ON_FACTS = "forest on the measured facts (cross-validated)"
ON_TOWERS = "ridge on what the towers hand over (cross-validated)"
TOWERS = {"video": ("vision",), "audio": ("audio",), "overall": ("vision", "audio")}  # whose tokens tell of an aspect


class CardBaselines:
    """Facts and tokens of the clips that are added; regressions on them in `report`."""

    def __init__(self) -> None:
        self.facts: dict[str, list[Measurement]] = {}
        self.tokens: dict[str, dict[str, np.ndarray]] = {}

    def add(self, rater: Rater, clip: HeldOut) -> None:
        backbone = rater.backbone
        self.facts[clip.record.id] = worst_evidence(w.evidence for w in clip.windows)
        given: dict[str, torch.Tensor] = {}
        if isinstance(backbone, Qwen25Omni):  # other families cannot run their towers alone
            media = [on_device(backbone.media_tensors(w.views), backbone) for w in clip.windows]
            tokens = [backbone.media_tokens(m) for m in media]
            given = {p: torch.cat([t[p] for t in tokens if p in t]) for p in {p for t in tokens for p in t}}
        self.tokens[clip.record.id] = {part: _summary(t) for part, t in given.items() if len(t)}

    def report(self, records: Sequence[Record], draws: int) -> dict[str, dict[str, Agreement]]:
        """Agreement by baseline and aspect; an aspect is left out where nothing tells of it."""
        out: dict[str, dict[str, Agreement]] = {ON_FACTS: {}, ON_TOWERS: {}}
        for aspect in (a for a in ASPECTS if any(a in r.labels for r in records)):
            labelled = [r for r in records if aspect in r.labels]
            for name, rows, guess in self._guesses(labelled, aspect):
                known = [(r, g) for r, g in zip(rows, guess, strict=True) if np.isfinite(g)]
                if known:
                    out[name][aspect] = agreement(
                        [g for _, g in known],
                        [r.labels[aspect].mean_five for r, _ in known],
                        groups=[r.group for r, _ in known],
                        total=len(labelled),
                        draws=draws,
                    )
        return out

    def _guesses(self, labelled: Sequence[Record], aspect: str) -> Iterator[tuple[str, list[Record], np.ndarray]]:
        rows = [r for r in labelled if r.id in self.facts]
        names = sorted({m.name for r in rows for m in self.facts[r.id] if m.modality in SEES[aspect]})
        yield ON_FACTS, rows, crossed(rows, aspect, matrix(rows, self.facts, names), forest)
        parts = TOWERS.get(aspect, ())
        rows = [r for r in rows if parts and all(p in self.tokens[r.id] for p in parts)]
        x = np.array([np.concatenate([self.tokens[r.id][p] for p in parts]) for r in rows])
        yield ON_TOWERS, rows, crossed(rows, aspect, x, frozen.ridge)


def forest(x: np.ndarray, y: np.ndarray, groups: list[str]) -> Any:
    return fit("forest", x, y, groups)


def crossed(rows: Sequence[Record], aspect: str, x: np.ndarray, how: Any) -> np.ndarray:
    """Predictions of the rows, by regressions that saw no clip of the content. NaN: rows are few, or tell nothing."""
    if len(rows) < LEAST_CLIPS or not x.size:
        return np.full(len(rows), np.nan)
    y = np.array([r.labels[aspect].mean_five for r in rows])
    return frozen.crossed(how, x, y, [r.group for r in rows])


def _summary(tokens: torch.Tensor) -> np.ndarray:
    """Mean, spread, lowest and highest of [tokens, width]: float32 [4 * width]."""
    t = tokens.float()
    found: np.ndarray = torch.cat([t.mean(0), t.std(0, correction=0), t.amin(0), t.amax(0)]).cpu().numpy()
    return found
