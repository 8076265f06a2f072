"""Views: sizes of the whole-frame view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mllm_avqa.model.views import _whole
from mllm_avqa.schema.card import CARD_FILE, Card, ViewSpec
from mllm_avqa.schema.errors import CheckpointError


@pytest.mark.parametrize(("height", "width"), [(100, 1200), (1200, 100), (360, 640), (40, 40), (720, 2400)])
@pytest.mark.parametrize(("patch", "pixels"), [(28, 84 * 140), (384, 384 * 384), (28, 28 * 28)])
def test_whole_view_is_never_empty_and_keeps_its_budget(height: int, width: int, patch: int, pixels: int) -> None:
    frames = np.zeros((2, height, width, 3), np.uint8)
    n, h, w, _ = _whole(frames, ViewSpec(patch=patch, global_pixels=pixels)).shape
    assert n == 2
    assert min(h, w) >= patch
    assert h % patch == w % patch == 0
    assert h * w <= pixels


@pytest.mark.parametrize(("patch", "pixels"), [(28, 28 * 28 - 1), (28, 1), (384, 84 * 140)])
def test_a_budget_below_one_patch_is_refused_with_its_limit(patch: int, pixels: int, tmp_path: Path) -> None:
    text = f"name: n\nfamily: qwen2_5_omni\nviews: {{patch: {patch}, global_pixels: {pixels}}}\n"
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=rf"{CARD_FILE}(.|\n)*global_pixels {pixels} .* {patch * patch}\b"):
        Card.load(tmp_path)
