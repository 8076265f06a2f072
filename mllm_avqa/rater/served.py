"""The corridor of a model that another server runs: windows are encoded here, level tokens are read there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mllm_avqa.corridor import Corridor, Encoded, Scores
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.endpoint import Endpoint
from mllm_avqa.model.prompting import Branch, aspect_branch
from mllm_avqa.model.retold import Change
from mllm_avqa.model.rows import pack, prompt_ids, stock_aspects
from mllm_avqa.model.scoring import EncodedClip, distribution
from mllm_avqa.model.served import Rendered, ServedModel
from mllm_avqa.model.views import Showable
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.measurement import Measurement

FLAGS = ("--endpoint", "--model", "--key-env")


class ShownElsewhere(Encoded):
    """A window with what the server has made of its views."""

    inputs: dict[str, Rendered]


class ServedCorridor(Corridor):
    """Scores of `Corridor`, a request for each aspect; it has no likelihoods of anything but levels."""

    def __init__(self, backbone: Backbone, card: Card, model: ServedModel) -> None:
        super().__init__(backbone, card)
        self.model = model

    def encode(self, window: Showable, language: str, *, remember: bool = False) -> ShownElsewhere:
        segments, _, aspects = super().encode(window, language)
        shown = ShownElsewhere(segments, {}, aspects)
        shown.inputs = self.model.render(window.views, self.card.views.audio_rate)
        return shown

    def asked(self, window: Encoded, aspect: str, language: str) -> tuple[list[int], list[float]]:
        """The prompt of an aspect, and the log-probabilities of the levels behind it."""
        ids = prompt_ids(
            window.segments, self.backbone.encode_branch(aspect_branch(aspect, language)), self.card.isolate
        )
        assert isinstance(window, ShownElsewhere)
        return ids, self.model.levels(ids, window.inputs, self.level_ids)

    def score(self, windows: Sequence[Encoded], language: str = "en", rows: int | None = None) -> list[Scores]:
        found: list[Scores] = []
        for window in windows:
            told = {a: np.array(self.asked(window, a, language)[1]) for a in window.aspects}
            mass = {a: float(np.logaddexp.reduce(t)) for a, t in told.items()}
            found.append({a: distribution(torch.from_numpy(t - mass[a]), mass[a]) for a, t in told.items()})
        return found

    def hold(self, window: Encoded, language: str = "en") -> tuple[Scores, EncodedClip]:
        prefix = pack(window.segments, [], isolate=self.card.isolate)
        return self.score([window], language)[0], EncodedClip(self.backbone, prefix, None)

    def likelihoods(self, clip: EncodedClip, asked: Sequence[Branch]) -> list[list[float]]:
        """All alike: of wordings the first is taken."""
        return [[0.0] for _ in asked]

    def otherwise(
        self, clip: EncodedClip, facts: Sequence[Measurement], changes: Sequence[Change], language: str
    ) -> None:
        return None


def served(
    url: str, directory: Path, model: str, key_env: str | None, options: dict[str, Any]
) -> tuple[Backbone, Card, str]:
    """What a `Rater` of an endpoint is made of; its corridor is put into `options`."""
    card = Card.load(directory)
    backbone = load_backbone(directory, card, empty=True)
    if backbone.stock_classes() is None:
        raise ConfigError(f"{card.name}: serving engines do not know its family, {card.family} (card)")
    endpoint = Endpoint.open(url, model, key_env, flags=FLAGS)
    names = endpoint.models()
    if (not model and len(names) != 1) or (model and model not in names):
        raise ConfigError(f"model {model!r} is none of {', '.join(names)} at {url} (--model)")
    endpoint = Endpoint.open(url, model or names[0], key_env, flags=FLAGS)
    told = {"aspects": stock_aspects(card.aspects, card.isolate), "lists_faults": False, "free_text": False}
    options["corridor"] = partial(ServedCorridor, model=ServedModel(endpoint, backbone.pads))
    card = card.model_copy(update=told | {"compares": False, "calibration": None})
    return backbone, card, f"served-{endpoint.model}"
