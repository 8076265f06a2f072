"""Weight files of a checkpoint: where they lie, which of them are pickled, and the hash they are known by."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mllm_avqa.bases import base_of, catalogue
from mllm_avqa.schema.card import CARD_FILE, Card
from mllm_avqa.schema.errors import CheckpointError

MOST_HEADER = 100_000_000  # bytes, the limit of the format's own reader


def locate(directory: Path, card: Card) -> tuple[str, str | None]:
    """(where the full weights are, revision to fetch or None for local files).

    `base_model` is a folder relative to the checkpoint, a base that is kept in the cache (`mllm_avqa.bases`) with the
    hash of its content in `revision`, or a hub name with its commit there.
    Raises CheckpointError for a hub name without a revision: a branch may move under a published adapter; and for a
    base that is not in the cache, or is another one.
    """
    if card.base_model is None:
        return str(directory), None
    beside = directory / card.base_model
    if beside.is_dir():
        return str(beside), None
    if kept(card):
        return str(base_of(card.base_model, card.revision)), None
    if not card.revision:
        raise CheckpointError(
            f"{directory / CARD_FILE}: base_model {card.base_model!r} is no folder beside it, and as a hub name it "
            "needs `revision`, the commit it was trained on (--checkpoint)"
        )
    return card.base_model, card.revision


def kept(card: Card) -> bool:
    """Whether its base is one of those kept in the cache, which name and content hash stand for."""
    return card.base_model in catalogue()


def base_from(start: Path, card: Card, directory: Path) -> str:
    """`base_model` of an adapter to be saved in `directory` after training from checkpoint `start` with card `card`.

    Local weights are named relative to the adapter, so that a run folder can be moved; a name stays as it is.
    """
    if card.base_model is not None and kept(card):
        return card.base_model
    base, revision = locate(start, card)
    return base if revision else os.path.relpath(Path(base).resolve(), directory.resolve())


def pickled_files(directory: Path) -> list[Path]:
    """Pickled weights that would be loaded, for want of safetensors."""
    kinds = (("model*.safetensors", "pytorch_model*.bin"), ("adapter_model*.safetensors", "adapter_model*.bin"))
    return sorted(p for safe, old in kinds if not any(directory.glob(safe)) for p in directory.glob(old))


def weight_bytes(directory: Path, card: Card) -> int:
    """Size of the weight files below a checkpoint; more than any, where they are still to be fetched from a hub."""
    base, revision = locate(directory, card)
    return 1 << 62 if revision else sum(f.stat().st_size for f in Path(base).glob("*.safetensors"))


def header(path: Path) -> dict[str, Any]:
    """Names, dtypes and shapes of the tensors of a safetensors file. Raises ValueError for anything else."""
    with path.open("rb") as f:
        size = int.from_bytes(f.read(8), "little")
        if not 2 <= size <= min(MOST_HEADER, path.stat().st_size):
            raise ValueError(f"{path} is no safetensors file")
        found = json.loads(f.read(size))
    return {k: v for k, v in found.items() if k != "__metadata__"}


def weights_hash(directory: Path, card: Card | None = None) -> str:
    """Short sha256 over the weight files of a checkpoint directory, in name order; pickled ones where they are loaded.

    card: of an adapter, its base counts as well: a local one by its weights, another one by name and revision.
    """
    if card is not None and card.base_model is not None:
        base, revision = (card.base_model, card.revision) if kept(card) else locate(directory, card)
        under = f"{base}@{revision}" if revision else weights_hash(Path(base))
        return hashlib.sha256(f"{weights_hash(directory)} on {under}".encode()).hexdigest()[:16]
    digest = hashlib.sha256()
    for path in sorted([*directory.glob("*.safetensors"), *pickled_files(directory)]):
        with path.open("rb") as f:
            while block := f.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]
