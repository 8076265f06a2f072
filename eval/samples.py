"""The clips of a task and the checkpoints of a run, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eval.store import SCORING, code, digest
from mllm_avqa.context.sidecars import find_sidecars
from mllm_avqa.media import content_hash
from mllm_avqa.model.checkpoint import resolve_checkpoint
from mllm_avqa.model.weights import weights_hash
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError, MediaError
from mllm_avqa.schema.records import Record, read_records, relocation, write_records

T = TypeVar("T")


class Samples:
    """Content hashes of files, each read once per run, however many tasks and checkpoints use it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def file(self, path: Path) -> str:
        """sha256 of a file. Raises MediaError subclasses for one that is not there."""
        name = os.path.abspath(path)
        if name not in self._known:
            self._known[name] = content_hash(name)
        return self._known[name]

    def key(self, record: Record, base: Path, context: str) -> str:
        """Hash of the clip's bytes, its span, and the texts that come with it. Raises MediaError subclasses."""
        media = base / record.media
        beside = find_sidecars(media) if context != "none" else []
        hashes = [self.file(media), *(self.file(p) for p in beside if p.is_file())]
        return digest(hashes, record.start, record.end, record.context)

    def keys(self, records: Iterable[Record], base: Path, context: str) -> list[str]:
        """`key` of every record; of a clip that can not be read, the kind of the error."""
        out = []
        for r in records:
            try:
                out.append(self.key(r, base, context))
            except MediaError as e:
                out.append(e.kind)
        return out


def chosen(path: Path, split: str, limit: int | None) -> list[Record]:
    """`select` of a record file."""
    return select(list(read_records(path)), split, limit, str(path))


def select(records: Sequence[Record], split: str, limit: int | None = None, file: str = "") -> list[Record]:
    """The records of a split ("all": every one); a limit takes evenly spread ones. Raises ConfigError for none."""
    found = [r for r in records if split in ("all", r.split)]
    if not found:
        there = ", ".join(sorted({r.split or "none" for r in records})) or "no records at all"
        where = f"{file} has" if file else "there is"
        raise ConfigError(
            f"{where} no record of split {split!r} (--split); there are: {there}, and 'all' takes every one"
        )
    return spread(found, limit) if limit is not None else found


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` evenly spread items, so that no source fills them alone."""
    n = min(count, len(items))
    return [items[i * len(items) // n] for i in range(n)]


def write_labels(path: Path, records: list[Record], base: Path) -> Path:
    """The records as a file of their own in another folder: the labels of `python -m eval correlate`."""
    place = relocation(base, path.parent)
    write_records(path, (r.model_copy(update={"media": place(r.media)}) for r in records))
    return path


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
