"""Batcher of rows of similar length: a batch is as long as its longest row, and the rest of it is padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Media, prefix_segments
from mllm_avqa.schema.card import Card
from train import ranks
from train.cache import CachedWindow
from train.sources import WeightedClips

POOL = 50  # batches sorted together: the fewer, the more different clips meet in a batch
MEL = 160  # samples in a mel frame


class ByLength(Sampler[int]):
    """Positions of a data set, every `batch` neighbours of similar length, the batches in a random order.

    lengths: of all positions, in any unit; batch: rows of one step on all ranks, so that none waits for a longer one.
    The order follows from seed and epoch alone: all ranks have the same one, and so has a resumed run.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, pool: int = POOL) -> None:
        self.lengths, self.batch, self.seed, self.pool = lengths, batch, seed, pool
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}/{self.epoch}")
        order = rng.sample(range(len(self)), len(self))
        size = self.batch * self.pool
        for at in range(0, len(order), size):
            order[at : at + size] = sorted(order[at : at + size], key=self.lengths.__getitem__)
        batches = [order[at : at + self.batch] for at in range(0, len(order), self.batch)]
        rest = [batches.pop()] if len(order) % self.batch else []  # an incomplete batch would shift all after it
        rng.shuffle(batches)
        return iter([k for b in batches + rest for k in b])


def row_lengths(rows: Any, backbone: Backbone, card: Card) -> list[int]:
    """Tokens of the prefix at every position of a stage's data set (`sources.mixed`).

    Questions are drawn when the batch is made and are left out. Every window is read once, by the first rank.
    """
    clips, order = (rows.clips, rows.order) if isinstance(rows, WeightedClips) else (rows, range(len(rows)))

    def measured() -> dict[int, int]:
        return {k: prefix_length(clips[k]["window"], backbone, card) for k in sorted(set(order))}

    known = ranks.first(measured)
    return [known[k] for k in order]


def prefix_length(window: CachedWindow | None, backbone: Backbone, card: Card) -> int:
    """Tokens of a window's segments, from the sizes of its views and its text; 0 for one that cannot be read."""
    if window is None:
        return 0
    v = window.views
    segments = prefix_segments(v, window.evidence, window.context, card.languages[0], card.facts)
    total = 0
    for part in (p for s in segments for p in s.parts):
        if not isinstance(part, Media):
            total += len(backbone.tokenizer(part.text, add_special_tokens=False).input_ids)
        elif part.view == "sound":
            total += backbone.sound_tokens(len(v.sound) // MEL) if v.sound is not None else 0
        else:
            frames = v.whole if part.view == "whole" else v.fragments
            total += frames[..., 0].size // 2 // card.views.patch**2 if frames is not None else 0
    return total
