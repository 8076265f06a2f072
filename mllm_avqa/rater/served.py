"""The corridor of a model that another server runs: windows are encoded here, level tokens are read there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mllm_avqa.corridor import Corridor, Encoded, Scores
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.endpoint import Endpoint, EndpointUnavailable
from mllm_avqa.model.prompting import Branch, aspect_branch
from mllm_avqa.model.retold import Change
from mllm_avqa.model.rows import pack, prompt_ids, stock_aspects
from mllm_avqa.model.scoring import EncodedClip, distribution
from mllm_avqa.model.served import VIEWS, ServedModel, ViewsDiffer, processing
from mllm_avqa.model.views import Showable, Views
from mllm_avqa.model.weights import weights_hash
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.measurement import Measurement

FLAGS = ("--endpoint", "--model", "--key-env")
Answer = Mapping[str, Any]  # error; ids: the prompt as an engine had it; levels: log-probabilities by token id
Answers = Mapping[tuple[int, ...], Answer]  # by prompt


class Model(Protocol):
    """Who reads level tokens: a server, or an engine of a pipeline. What it makes of views is its own business."""

    def render(self, views: Views, rate: int) -> Any: ...

    def levels(self, ids: Sequence[int], inputs: Any, wanted: Sequence[int]) -> list[float]: ...


class AskedLater:
    """Keeps views until their questions are written down, then holds the answers."""

    def render(self, views: Views, rate: int) -> dict[str, Any]:
        video = [v for name in VIEWS["video"] if (v := getattr(views, name)) is not None]
        sound = [] if views.sound is None else [(views.sound, rate)]
        return {"video": video, "audio": sound, "how": processing(views)}

    def levels(
        self, ids: Sequence[int], inputs: Mapping[tuple[int, ...], Answer], wanted: Sequence[int]
    ) -> list[float]:
        told = inputs[tuple(ids)]
        if told["error"]:
            raise EndpointUnavailable(f"the engine did not answer: {told['error']}")
        if list(told["ids"]) != list(ids):
            raise ViewsDiffer(
                f"the engine shows its model a prompt of {len(told['ids'])} tokens, it was taught with {len(ids)}: "
                "another processor, or frames that are resized"
            )
        try:
            return [float(told["levels"][i]) for i in wanted]
        except KeyError as e:
            raise EndpointUnavailable(f"the engine did not tell the level token {e}") from e


class ShownElsewhere(Encoded):
    """A window with what the server has made of its views."""

    inputs: Any  # of its `Model`


class ServedCorridor(Corridor):
    """Scores of `Corridor`, a request for each aspect; it has no likelihoods of anything but levels."""

    def __init__(self, backbone: Backbone, card: Card, model: Model) -> None:
        super().__init__(backbone, card)
        self.model = model

    def encode(self, window: Showable, language: str, *, remember: bool = False) -> ShownElsewhere:
        segments, _, aspects = super().encode(window, language)
        shown = ShownElsewhere(segments, {}, aspects)
        shown.inputs = self.model.render(window.views, self.card.views.audio_rate)
        return shown

    def asked(self, window: Encoded, aspect: str, language: str) -> tuple[list[int], list[float]]:
        """The prompt of an aspect, and the log-probabilities of the levels behind it."""
        assert isinstance(window, ShownElsewhere)
        ids = self.prompt(window, aspect, language)
        return ids, self.model.levels(ids, window.inputs, self.level_ids)

    def prompt(self, window: Encoded, aspect: str, language: str) -> list[int]:
        branch = self.backbone.encode_branch(aspect_branch(aspect, language))
        return prompt_ids(window.segments, branch, self.card.isolate)

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
    backbone, card = emptied(directory)
    endpoint = Endpoint.open(url, model, key_env, flags=FLAGS)
    names = endpoint.models()
    if (not model and len(names) != 1) or (model and model not in names):
        raise ConfigError(f"model {model!r} is none of {', '.join(names)} at {url} (--model)")
    endpoint = Endpoint.open(url, model or names[0], key_env, flags=FLAGS)
    options["corridor"] = partial(ServedCorridor, model=ServedModel(endpoint, backbone.pads))
    return backbone, card, f"served-{endpoint.model}"


def staged(directory: Path, options: dict[str, Any]) -> tuple[Backbone, Card, str]:
    """What a `Rater` is made of whose model an engine of a pipeline holds; its corridor is put into `options`."""
    backbone, card = emptied(directory)
    options["corridor"] = partial(ServedCorridor, model=AskedLater())
    return backbone, card, f"engine-{weights_hash(directory, card)}"


def emptied(directory: Path) -> tuple[Backbone, Card]:
    """A checkpoint without its weights, and what of its card an engine for plain prompts can do."""
    card = Card.load(directory)
    backbone = load_backbone(directory, card, empty=True)
    if backbone.stock_classes() is None:
        raise ConfigError(f"{card.name}: serving engines do not know its family, {card.family} (card)")
    told = {"aspects": stock_aspects(card.aspects, card.isolate), "lists_faults": False, "free_text": False}
    return backbone, card.model_copy(update=told | {"compares": False, "calibration": None})
