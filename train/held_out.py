"""Scores held-out clips during training, through the same rows as everywhere else and in step on all ranks."""

from __future__ import annotations

import math
from typing import Any

import torch
from scipy.stats import spearmanr

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import aspect_branch
from mllm_avqa.model.rows import PackedRow, collate
from mllm_avqa.model.scoring import on_device
from mllm_avqa.schema.card import Card
from train import ranks
from train.data import Clips, make_row
from train.losses import moments, target
from train.questions import Sample
from train.ranks import Fillers, empty_row
from train.towers import TowerCache

FEWEST = 5  # clips behind a correlation


class Validation:
    """Held-out clips of one stage. `score(model)` runs the wrapped objective, in the precision it is trained in."""

    def __init__(
        self,
        backbone: Backbone,
        card: Card,
        clips: Clips,
        language: str,
        batch: int,
        towers: TowerCache | None = None,
    ) -> None:
        self.backbone, self.card, self.clips, self.language, self.batch = backbone, card, clips, language, batch
        self.towers = towers
        self.fillers = Fillers(backbone, card)

    def score(self, model: Any) -> dict[str, Any]:
        """SRCC per aspect of at least 5 clips with different scores, and the number of clips behind each.

        Each rank scores its share; all run equally many batches, and all get the result.
        """
        rounds = math.ceil(len(self.clips) / ranks.world() / self.batch)
        mine = list(range(ranks.rank(), len(self.clips), ranks.world()))
        found: list[tuple[str, float, float]] = []  # aspect, predicted score, label
        training = model.training
        model.eval()
        with torch.no_grad():
            for r in range(rounds):
                found += self._batch(model, mine[r * self.batch : (r + 1) * self.batch])
        model.train(training)
        return correlations([f for part in ranks.gathered(found) for f in part], self.card.aspects)

    def _batch(self, model: Any, indices: list[int]) -> list[tuple[str, float, float]]:
        rows: list[PackedRow] = []
        at: list[tuple[int, int]] = []
        asked: list[tuple[str, float]] = []
        items = [i for i in (self.clips[k] for k in indices) if i["window"] is not None]
        if self.towers is not None:
            self.towers.open([i["window"].views for i in items])
        shown_to = self.towers.in_front if self.towers is not None else self.backbone
        for item in items:
            record, w = item["record"], item["window"]
            aspects = [a for a in record.labels if a not in w.missing]
            questions = [aspect_branch(a, self.language) for a in aspects]
            row = make_row(shown_to, Sample(record, w, questions, self.language), self.card)
            at += [(len(rows), s + b.stem_end) for s, b in zip(row.starts, row.branches, strict=True)]
            asked += [(a, target(record.labels[a]).mean) for a in aspects]
            rows.append(row)
        inputs = collate(rows or [empty_row(self.fillers.pad)], self.fillers.pad)
        if ranks.world() > 1:
            inputs = self.fillers.fill(inputs)
        none = torch.zeros(0, 2, dtype=torch.long)
        batch = {"inputs": inputs, "answer_at": none, "level_at": torch.tensor(at, dtype=torch.long).view(-1, 2)}
        recall = self.towers.lookups(inputs) if self.towers is not None else None
        scores, _ = moments(model(**on_device(batch, self.backbone), recall=recall)["log_probs"].float())
        return [(a, float(s), label) for (a, label), s in zip(asked, scores, strict=True)]


def correlations(found: list[tuple[str, float, float]], aspects: list[str]) -> dict[str, Any]:
    """{aspect: {"srcc", "n"}} of (aspect, predicted, label) rows."""
    result: dict[str, Any] = {}
    for a in aspects:
        guess, truth = ([f[k] for f in found if f[0] == a] for k in (1, 2))
        if len(guess) >= FEWEST and len(set(guess)) > 1 and len(set(truth)) > 1:
            result[a] = {"srcc": round(float(spearmanr(guess, truth).statistic), 4), "n": len(guess)}
    return result
