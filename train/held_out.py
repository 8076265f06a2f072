"""Scores held-out clips during training, through the same rows and scorer as everywhere else."""

from __future__ import annotations

from typing import Any

from scipy.stats import spearmanr

from mllm_avqa.backbones.base import Backbone
from mllm_avqa.card import Card
from mllm_avqa.scoring import Scorer, encode_prefix
from train.data import Clips
from train.targets import target


def score_held_out(backbone: Backbone, card: Card, clips: Clips, language: str, batch: int = 8) -> dict[str, Any]:
    """SRCC per aspect of at least 5 clips with different scores, and the number of clips behind each."""
    scorer = Scorer(backbone, card.aspects, card.level_words, card.isolate)
    guess: dict[str, list[float]] = {a: [] for a in card.aspects}
    truth: dict[str, list[float]] = {a: [] for a in card.aspects}
    for i in range(0, len(clips), batch):
        items = [clips[k] for k in range(i, min(i + batch, len(clips)))]
        inputs = []
        for item in items:
            w = item["window"]
            segments, media = encode_prefix(backbone, w.views, w.evidence, w.context, language, style=card.facts)
            inputs.append((segments, media, [a for a in item["record"].labels if a not in w.missing]))
        for item, scores in zip(items, scorer.score(inputs, language), strict=True):
            for aspect, s in scores.items():
                guess[aspect].append(s.score)
                truth[aspect].append(target(item["record"].labels[aspect]).mean)
    result: dict[str, Any] = {}
    for a in card.aspects:
        if len(guess[a]) >= 5 and len(set(guess[a])) > 1 and len(set(truth[a])) > 1:
            result[a] = {"srcc": round(float(spearmanr(guess[a], truth[a]).statistic), 4), "n": len(guess[a])}
    return result
