"""Backbone families. `load_backbone` reads the card and nothing else to decide."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllm_avqa.card import Card
from mllm_avqa.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from mllm_avqa.backbones.base import Backbone

FAMILIES = ("qwen2_5_omni",)


def family(name: str) -> type[Any]:
    """The class that implements a family (`Backbone`). Imports it only now: it pulls in transformers."""
    if name == "qwen2_5_omni":
        from mllm_avqa.backbones.qwen2_5_omni import Qwen25Omni

        return Qwen25Omni
    raise CheckpointError(f"backbone family {name!r} is not one of {', '.join(FAMILIES)} (`family` in avqa.yaml)")


def load_backbone(directory: Path, card: Card, dtype: torch.dtype) -> Backbone:
    """Weights, tokenizer and processors of a checkpoint directory. Raises CheckpointError naming what is missing."""
    with _quiet():
        backbone: Backbone = family(card.family).load(directory, card, dtype)
    return backbone


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading without progress bars and advice: what a user must know about a checkpoint is in its card or an error."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
