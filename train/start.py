"""What a run starts from: a checkpoint, a card on other weights, or random weights; and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mllm_avqa.model.prompting import grade_words, load_prompts
from mllm_avqa.schema.card import CARD_FILE, Card
from mllm_avqa.schema.records import Record
from train import tiny
from train.config import Config
from train.corpus import corpus
from train.merging import rebased


def start_of(config: Config, train: list[Record]) -> Path:
    """The directory the first stage starts from: `init`, a card that puts `base` in its place, or random weights."""
    directory = config.output / "start"
    if config.init is not None and config.base is None:
        return config.init
    if config.init is not None:
        rebased(config, directory)
    elif not (directory / CARD_FILE).is_file():
        model, tokenizer, card = fresh(config, train)
        tiny.save(model, tokenizer, card, directory)
    return directory


def fresh(config: Config, train: list[Record]) -> tuple[Any, Any, Card]:
    """Random weights, a tokenizer of the records' words, and their card."""
    # A graded fact is one token: a small model learns what each is worth as fast as a table would.
    words = grade_words() if config.facts == "grades" else []
    model, tokenizer = tiny.build(corpus(train), config.build.size, config.seed, words)
    if config.build.see_bands:
        tiny.see_bands(model)
    card = Card(
        name=config.name,
        family="qwen2_5_omni",
        pixels=tiny.PIXELS if config.build.see_bands else None,
        prompts=str(load_prompts("rating", config.languages[0])["version"]),
        facts=config.facts,
        languages=list(config.languages),
        limits=config.limits,
        licence=config.licence,
    )
    return model, tokenizer, carded(config, card)


def carded(config: Config, card: Card) -> Card:
    """The card of the start with what the config says otherwise."""
    given = config.given("facts", "languages", "limits", "licence")
    if config.isolate is not None:
        given["isolate"] = config.isolate
    return card.model_copy(update=given | {"name": config.name, "views": config.views.over(card.views)})
