"""What a backbone family must offer. One file per family implements it on `transformers` classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from mllm_avqa.model.backbones.loading import LoadOptions
from mllm_avqa.model.prompting import Branch, Segment
from mllm_avqa.model.rows import EncodedBranch, EncodedSegment
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card


@dataclass(frozen=True)
class Keepable:
    """A tower whose output may be kept and used again later: a stack of blocks, of which the last one is kept."""

    module: Any
    blocks: str  # attribute: the list of blocks
    before: str | None  # attribute: a costly module before them
    positions: Callable[[torch.Tensor], int]  # places of an input of this shape: grids [2, 3], or mel frames []
    pair: bool = False  # its blocks give tuples
    bins: int = 0  # mel bands of a sound tower


class Backbone(Protocol):
    """An audio-video LLM behind the calls that scoring, chat and training need."""

    model: Any  # torch module of transformers (or a PEFT wrapper around it)
    tokenizer: Any
    lora_targets: str | list[str]  # regex over module names, or the names: the linear layers of the LLM
    lora_parameters: tuple[str, ...]  # endings of parameter names: the experts of a mixture, which are no modules
    projectors: tuple[str, ...]  # modules trained in full beside LoRA
    towers: tuple[str, ...]  # name fragments of the encoder towers
    frozen: tuple[str, ...]  # parameters that never get a gradient
    end_id: int  # token that closes an answer

    @classmethod
    def load(cls, directory: Path, card: Card, options: LoadOptions) -> Backbone: ...

    @staticmethod
    def model_class() -> Any:
        """Its class in transformers, or one of the same kind (imported only now)."""
        ...

    @staticmethod
    def stock_classes() -> tuple[Any, Any] | None:
        """Classes of the whole model, of which this is the thinker, and of its processor; None: transformers has none.

        A checkpoint is exported in the layout of the whole model, which serving engines load.
        """
        ...

    @classmethod
    def bare(cls, model: Any, tokenizer: Any, card: Card) -> Backbone:
        """Around a model that will be shown nothing: without media processors."""
        ...

    def keepable(self) -> dict[str, Keepable]:
        """By part ("vision", "audio"), the towers whose outputs can be kept on disk. Empty: none."""
        ...

    def sound_tokens(self, mel_frames: int) -> int:
        """How many tokens the sound tower makes of this many mel frames (10 ms each)."""
        ...

    def encode_segment(self, segment: Segment, media: dict[str, torch.Tensor]) -> EncodedSegment:
        """Tokens and positions of a segment; `media` comes from `media_tensors`."""
        ...

    @property
    def pads(self) -> dict[str, int]:
        """The token that holds a place of "video" and of "audio" in a prompt."""
        ...

    def prompt(self, ids: list[int], media: dict[str, torch.Tensor]) -> EncodedSegment:
        """A whole prompt as stock code lays it out, for a family that has `stock_classes`."""
        ...

    def media_tensors(self, views: Views) -> dict[str, torch.Tensor]:
        """Model inputs of the views: pixel patches, grids, log-mel."""
        ...

    def encode_branch(self, branch: Branch) -> EncodedBranch: ...

    def hidden(self, batch: dict[str, Any], cache: Any = None) -> Any:
        """Runs the LLM on a collated batch; the result has `.last_hidden_state` [B, T, D] and `.past_key_values`."""
        ...

    def head(self) -> torch.nn.Module:
        """The language-model head: hidden -> vocabulary logits."""
        ...
