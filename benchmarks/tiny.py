"""Random-weight models of every backbone family, small enough for a second (`tiny.yaml`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from mllm_avqa.model.backbones import family
from train.nano.corpus import corpus
from train.nano.tiny import train_tokenizer

VOCAB = 900
SIZES = Path(__file__).with_suffix(".yaml")


def build(name: str, seed: int = 0) -> tuple[Any, Any]:
    """A model of the family's class in `transformers` and its tokenizer (`train.saving.save` writes them)."""
    kind = family(name)
    model_class = kind.model_class()
    tokenizer = train_tokenizer(corpus([]), VOCAB, kind.control)
    settings = _filled(yaml.safe_load(SIZES.read_text(encoding="utf-8"))[name], tokenizer)
    torch.manual_seed(seed)
    return model_class(model_class.config_class(**settings)), tokenizer


def _filled(value: Any, tokenizer: Any) -> Any:
    if isinstance(value, dict):
        return {k: _filled(v, tokenizer) for k, v in value.items()}
    if value == "vocab":
        return (len(tokenizer) + 63) // 64 * 64
    return tokenizer.convert_tokens_to_ids(value) if str(value).startswith("<|") else value
