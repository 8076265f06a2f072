"""Backbone families. `load_backbone` reads the card and nothing else to decide."""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from mllm_avqa.model.backbones.base import Backbone

SHARED = (
    "attention",
    "base",
    "loading",
    "lora",
    "qwen_omni",
)  # what families are made of; every other file here is one
FAMILIES = tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED))


def family(name: str) -> type[Any]:
    """The class that implements a family (`Backbone`). Imports it only now: it pulls in transformers."""
    if name not in FAMILIES:
        raise CheckpointError(f"backbone family {name!r} is not one of {', '.join(FAMILIES)} (`family` in avqa.yaml)")
    found: type[Any] = import_module(f"{__name__}.{name}").FAMILY
    return found


def load_backbone(
    directory: Path,
    card: Card,
    dtype: torch.dtype | None = None,
    *,
    device_map: str | dict[str, Any] | None = None,
    four_bit: bool = False,
    allow_pickle: bool = False,
    merged: bool = False,
    empty: bool = False,
) -> Backbone:
    """Weights, tokenizer and processors of a checkpoint directory, on the CPU unless `device_map` says where.

    dtype: of the weights, by default float32; device_map: "auto", "cuda:0", or {module: device}; four_bit,
    allow_pickle, merged, empty: see `loading.LoadOptions`. Raises CheckpointError naming what is missing, ConfigError
    for an option without its library.
    """
    import torch

    from mllm_avqa.model.backbones.loading import LoadOptions

    with _quiet():
        backbone: Backbone = family(card.family).load(
            directory, card, LoadOptions(dtype or torch.float32, device_map, four_bit, allow_pickle, merged, empty)
        )
    return backbone


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading without progress bars and advice: what a user must know about a checkpoint is in its card or an error."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
