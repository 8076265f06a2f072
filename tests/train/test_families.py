"""A backbone says what it can; training asks for no family's name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.tiny import build
from mllm_avqa.model.backbones import FAMILIES, family
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from train.towers import TowerCache

TRAIN = Path(__file__).parents[2] / "train"


def named(source: str) -> list[int]:
    """Lines that hold a family's name, or compare `.family` with anything."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in FAMILIES:
            found.append(node.lineno)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            found += [node.lineno for s in sides if isinstance(s, ast.Attribute) and s.attr == "family"]
    return found


def test_no_file_of_training_asks_for_a_family():
    files = [p for p in TRAIN.rglob("*.py") if p != TRAIN / "nano" / "tiny.py"]  # what is built from random weights
    assert len(files) > 20
    assert {str(p): lines for p in files if (lines := named(p.read_text(encoding="utf-8")))} == {}
    assert named('if card.family == "qwen2_5_omni":\n    pass\n') == [1, 1]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_what_it_can(name, tmp_path):
    model, tokenizer = build(name)
    card = Card(name="tiny", family=name)
    backbone = family(name).bare(model.to("meta"), tokenizer, card)
    stock = backbone.stock_classes()
    assert stock is None or all(hasattr(kind, "from_pretrained") for kind in stock)
    assert set(backbone.keepable()) in (set(), {"vision", "audio"})
    if not backbone.keepable():
        with pytest.raises(ConfigError, match="no towers that can be kept"):
            TowerCache(backbone, card, tmp_path, bf16=False)
