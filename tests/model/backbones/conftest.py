"""A random-weight Qwen3-Omni thinker of the production class, small enough for a second."""

from __future__ import annotations

import pytest
from qwen3_samples import open_qwen3, wide_views

from mllm_avqa.model.views import Views


@pytest.fixture(scope="session")
def qwen3_dir(tmp_path_factory):
    from benchmarks.tiny import build
    from mllm_avqa.schema.card import Card, ViewSpec
    from train.saving import save

    directory = tmp_path_factory.mktemp("qwen3")
    model, tokenizer = build("qwen3_omni")
    views = ViewSpec(patch=32, global_pixels=64 * 96, fragment_grid=(2, 3))
    save(model, tokenizer, Card(name="tiny3", family="qwen3_omni", views=views), directory)
    return directory


@pytest.fixture(scope="session")
def qwen3(qwen3_dir):
    import torch

    torch.set_num_threads(1)
    return open_qwen3(qwen3_dir)


@pytest.fixture
def views() -> Views:
    return wide_views()
