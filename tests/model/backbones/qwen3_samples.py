"""Random views of a tiny window in steps of 32 pixels, and opening a tiny checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card


def wide_views(seed: int = 0, seconds: float = 1.3, pair: float = 0.7) -> Views:
    """Random views in steps of 32 pixels; more than one sound chunk of a second, frame times off the time grid."""
    rng = np.random.default_rng(seed)
    return Views(
        whole=rng.integers(0, 255, (4, 64, 96, 3), dtype=np.uint8),
        fragments=rng.integers(0, 255, (4, 32, 64, 3), dtype=np.uint8),
        sound=(rng.standard_normal(int(16000 * seconds)) * 0.1).astype(np.float32),
        seconds_per_pair=pair,
    )


def open_qwen3(directory: Path, **options: Any) -> Backbone:
    backbone = load_backbone(directory, Card.load(directory), **options)
    backbone.model.eval()
    return backbone
