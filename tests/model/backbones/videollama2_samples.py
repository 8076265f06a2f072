"""A random-weight VideoLLaMA2-AV, small enough for a second, and views it takes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card, ViewSpec


def make_views(seed: int = 0, seconds: float = 0.7, height: int = 56) -> Views:
    rng = np.random.default_rng(seed)
    return Views(
        whole=rng.integers(0, 255, (4, height, 84, 3), dtype=np.uint8),
        fragments=rng.integers(0, 255, (4, 56, 56, 3), dtype=np.uint8),
        sound=(rng.standard_normal(int(16000 * seconds)) * 0.1).astype(np.float32),
    )


@cache
def tiny_parts() -> tuple[Any, Any]:
    """Model and tokenizer; weights so large that every part matters."""
    from benchmarks.tiny import build

    model, tokenizer = build("videollama2")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim > 1 and "embed_tokens" not in name and "lm_head" not in name:
                p.copy_(torch.randn(p.shape, generator=generator) * p[0].numel() ** -0.5)
    return model, tokenizer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint."""
    from train.saving import save

    path = tmp_path_factory.mktemp("videollama2")
    card = Card(name="tinyv", family="videollama2", views=ViewSpec(global_pixels=56 * 84, fragment_grid=(2, 2)))
    save(*tiny_parts(), card, path)
    return path


def opened(path: Path, **options: Any) -> Backbone:
    backbone = load_backbone(path, Card.load(path), **options)
    backbone.model.eval()
    return backbone
