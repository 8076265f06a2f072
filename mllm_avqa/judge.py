"""Many variants of prepared windows scored: what is measured of a clip with parts of it taken away or replaced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.rows import EncodedSegment
from mllm_avqa.model.scoring import Scorer, encode_prefix
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.windows import Prepared

ROWS = 4  # windows per forward
Scores = dict[str, ScoreDistribution]


class WindowJudge:
    """Scores windows as ratings do. Tensors of a picture or sound are made once, whatever stands beside it.

    It keeps them, and the arrays they were made of, until `forget`.
    """

    def __init__(self, backbone: Backbone, scorer: Scorer, card: Card) -> None:
        self.backbone, self.scorer, self.card = backbone, scorer, card
        self._media: dict[int, tuple[np.ndarray, dict[str, torch.Tensor]]] = {}

    def forget(self) -> None:
        self._media.clear()

    def encode(self, p: Prepared, language: str) -> tuple[list[EncodedSegment], dict[str, torch.Tensor], list[str]]:
        """What `Scorer.score` takes."""
        v = p.views
        media = self._tensors(v.whole, Views(v.whole, v.fragments, None, v.seconds_per_pair))
        media = media | self._tensors(v.sound, Views(None, None, v.sound))
        segments, media = encode_prefix(
            self.backbone, p.views, p.evidence, p.context, language, media, style=self.card.facts
        )
        return segments, media, [a for a in p.aspects if a in self.card.aspects]

    def windows(self, windows: Sequence[Prepared], language: str) -> list[Scores]:
        """Scores of the aspects of every window, `ROWS` windows per forward."""
        out: list[Scores] = []
        for i in range(0, len(windows), ROWS):
            out += self.scorer.score([self.encode(p, language) for p in windows[i : i + ROWS]], language)
        return out

    def _tensors(self, array: np.ndarray | None, views: Views) -> dict[str, torch.Tensor]:
        if array is None:
            return {}
        if id(array) not in self._media:
            self._media[id(array)] = array, self.backbone.media_tensors(views)
        return self._media[id(array)][1]
