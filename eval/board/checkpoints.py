"""Checkpoints by name, and what makes two of them give the same scores, known without loading a model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.store import SCORING, code, digest
from mllm_avqa.model.checkpoint import resolve_checkpoint, weights_hash
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError

TOLD = {"results", "calibration", "training", "limits", "licence"}  # of a card: says what is known, changes no score
READ = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")  # weights, configuration, tokenizer


@dataclass(frozen=True)
class Checkpoint:
    """given: as it was typed; identity: equal for equal scores; weights: as `checkpoint.weights_hash` names them."""

    given: str
    card: Card
    weights: str
    identity: str


def identify(given: str) -> Checkpoint:
    """Read card and files; no model is made. Raises CheckpointError."""
    directory = resolve_checkpoint(given, "CHECKPOINT")
    card = Card.load(directory)
    folders = [directory, *([directory / card.base_model] if card.base_model else [])]  # a base may lie beside it
    files = sorted({p for folder in folders for pattern in READ for p in folder.glob(pattern)})
    if not files and not card.base_model:
        raise CheckpointError(f"checkpoint {given!r} holds no weights (CHECKPOINT)")
    weights, *base = (weights_hash(folder) for folder in folders)
    identity = digest(
        [weights, *base],
        [[p.name, hashlib.sha256(p.read_bytes()).hexdigest()] for p in files if p.suffix != ".safetensors"],
        card.model_dump(mode="json", exclude=TOLD),
        code(*SCORING),
    )
    return Checkpoint(given, card, weights, identity)


def board_names(given: Sequence[str]) -> list[str]:
    """A short name for every checkpoint: the last parts of its path that tell it from the others."""
    parts = [Path(g).expanduser().parts[-3:] or (g,) for g in given]
    for depth in (1, 2, 3):
        names = ["/".join(p[-depth:]) for p in parts]
        if max(Counter(names).values(), default=1) == 1:
            return names
    return list(given)
