"""Shared fixtures: a tiny random-weight backbone of the production class, and a prepared window."""

from __future__ import annotations

import pytest
from sample_views import make_views

from mllm_avqa.model.views import Views
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.text import TextContext, TextItem


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory):
    """A checkpoint directory with a random-weight Qwen2.5-Omni thinker of 0.2 M parameters."""
    from mllm_avqa.schema.card import Card, ViewSpec
    from train.config import Size
    from train.nano.corpus import corpus
    from train.nano.tiny import build
    from train.saving import save

    directory = tmp_path_factory.mktemp("tiny")
    model, tokenizer = build(corpus([]), Size(vocab=900, llm=(64, 2), vision=(64, 2), audio=(64, 1), heads=2))
    card = Card(name="tiny", family="qwen2_5_omni", views=ViewSpec(global_pixels=56 * 84, fragment_grid=(2, 3)))
    save(model, tokenizer, card, directory)
    return directory


@pytest.fixture(scope="session")
def tiny(tiny_dir):
    import torch

    from mllm_avqa.model.backbones import load_backbone
    from mllm_avqa.schema.card import Card

    torch.set_num_threads(1)
    backbone = load_backbone(tiny_dir, Card.load(tiny_dir), torch.float32)
    backbone.model.eval()
    return backbone


@pytest.fixture
def views() -> Views:
    return make_views()


@pytest.fixture
def facts() -> list[Measurement]:
    return [
        Measurement(name="blur", modality="video", value=3.21, unit="px", severity="strong"),
        Measurement(name="noise", modality="video", value=0.4, unit="dB"),
        Measurement(name="loudness", modality="audio", value=-41.0, unit="LUFS", severity="moderate"),
    ]


@pytest.fixture
def context() -> TextContext:
    return TextContext(items=[TextItem(origin="subtitle", text="hello", start=0.0, end=1.0)])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts several processes takes longest: it goes first, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("processes") is None)
