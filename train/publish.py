"""Turns the last stage of a run into a checkpoint to hand out: adapters merged, bf16 weights, card beside them."""

from __future__ import annotations

from pathlib import Path

import torch

from train.run import open_checkpoint
from train.tiny import save


def publish(stage: Path, directory: Path) -> None:
    """Write `stage` as a full-weight bf16 checkpoint into `directory` (existing weights there are replaced).

    Raises CheckpointError when `stage` is not a checkpoint.
    """
    backbone, card = open_checkpoint(stage)
    model = backbone.model
    if hasattr(model, "peft_config"):
        model = model.merge_and_unload()
    card.base_model = card.revision = None
    save(model.to(torch.bfloat16), backbone.tokenizer, card, directory)
