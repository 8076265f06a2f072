"""Every rank walks the same modules in every step, whatever its clips hold.

Ranks exchange weights (ZeRO-3) and gradients (ZeRO-2, DDP) module by module. A rank whose batch has no picture skips
the vision tower, the others wait for it: the run hangs or dies. So a batch without pictures or sound gets the smallest
picture or sound there is, in columns of its own that nothing sees and that count for nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Media, Segment
from mllm_avqa.model.rows import EncodedSegment, Row, pack
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card

SOUND_SECONDS = 0.1


class Fillers:
    """Makes batches of one backbone whole: `fill` adds what is absent."""

    def __init__(self, backbone: Backbone, card: Card) -> None:
        self.pad = int(backbone.tokenizer.pad_token_id)
        side = card.views.patch
        frames = np.zeros((2, side, side, 3), np.uint8)
        sound = np.zeros(round(SOUND_SECONDS * card.views.audio_rate), np.float32)
        self.parts: list[tuple[str, dict[str, torch.Tensor], EncodedSegment]] = []
        for name, key, views, seen in (
            ("video", "pixel_values_videos", Views(frames, frames, None), ("whole", "fragments")),
            ("audio", "input_features", Views(None, None, sound), ("sound",)),
        ):
            media = backbone.media_tensors(views)
            segment = backbone.encode_segment(Segment(name, tuple(Media(v) for v in seen)), media)
            self.parts.append((key, media, segment))

    def fill(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Collated inputs (`rows.collate`) with pictures and sound, absent ones as columns behind the first row.

        inputs: input_ids [B, T], position_ids [3, B, T], attention_mask [B, 1, T, T], media tensors or none.
        Columns 0..T-1 and everything computed there stay as they are.
        """
        for key, media, segment in self.parts:
            if key not in inputs:
                inputs = _behind(inputs, segment, self.pad) | media
        return inputs


def _behind(inputs: dict[str, Any], segment: EncodedSegment, pad: int) -> dict[str, Any]:
    """The segment as columns of row 0; the other rows get padding there."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]["full_attention"]
    rows, length = ids.shape
    n = len(segment.ids)
    more = torch.full((rows, n), pad)
    more[0] = torch.tensor(segment.ids)
    positions = segment.positions[:, None].expand(-1, rows, -1)
    wide = torch.zeros(rows, 1, length + n, length + n, dtype=torch.bool)
    wide[:, :, :length, :length] = mask
    wide[:, 0, length:, length:] = torch.eye(n, dtype=torch.bool)  # a fully masked row would be NaN
    return inputs | {
        "input_ids": torch.cat([ids, more], 1),
        "position_ids": torch.cat([inputs["position_ids"], positions], 2),
        "attention_mask": {"full_attention": wide},
    }


def empty_row(pad: int) -> Row:
    """A row that holds nothing: what a rank computes when it has no clip left."""
    return pack([EncodedSegment("system", [pad], torch.zeros(3, 1, dtype=torch.long))], [])
