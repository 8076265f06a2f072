"""A checkpoint's architecture without its weights: parameters on the meta device, which hold shapes and no memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mllm_avqa.model.backbones import family
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.backbones.loading import locate
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError


class _NoTokenizer:
    """Stands in where the tokenizer is not to be had offline: the architecture does not depend on it."""

    all_special_ids: tuple[int, ...] = ()

    def convert_tokens_to_ids(self, token: str) -> int:
        return -1


def skeleton(directory: Path, card: Card) -> tuple[Backbone, Any]:
    """The backbone on the meta device, without adapter, and its tokenizer or None where that is not at hand.

    Sizes come from a `config.json`: of local weights, beside the card (train/configs/bases), or of the hub's cache;
    nothing is fetched. Raises CheckpointError where there is none.
    """
    model_class = family(card.family).model_class()  # type: ignore[attr-defined]
    base, revision = locate(directory, card)
    beside = (directory / "config.json").is_file()
    folder = str(directory) if revision and beside else base
    try:
        where = {"revision": revision} if revision and not beside else {}
        config = model_class.config_class.from_pretrained(folder, local_files_only=True, **where)
        with torch.device("meta"):
            model = model_class._from_config(config)
    except (OSError, ValueError) as e:
        raise CheckpointError(f"no config.json of {base} at hand, neither in {directory} nor cached: {e}") from e
    tokenizer = _tokenizer(base, revision)
    backbone: Any = family(card.family)(model, tokenizer or _NoTokenizer(), *_no_processors(card))
    return backbone, tokenizer


def _no_processors(card: Card) -> tuple[Any, ...]:
    return (card.pixels,) if card.family == "videollama2" else (None, None)


def _tokenizer(base: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(base, revision=revision or "main", local_files_only=True)
    except (OSError, ValueError):
        return None
