"""Records and prepared windows -> packed rows: many questions behind one encoded clip."""

from __future__ import annotations

import logging
import random
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch.utils.data import Dataset

from mllm_avqa.corridor import pack_window
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.rows import PackedRow, collate
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Record
from train import ranks
from train.cache import load
from train.losses import Target, target
from train.nano.teacher import Teacher
from train.questions import DrawRows, Sample
from train.ranks import Fillers, empty_row
from train.towers import TowerCache

log = logging.getLogger(__name__)
UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile)  # what a damaged cache file raises


class Clips(Dataset[dict[str, Any]]):
    """Index -> record and its prepared window: None, and why, for one that turns out unreadable in the middle of a run.

    Every epoch draws other questions and another dropout (`Collator.epoch`).
    """

    def __init__(self, records: list[Record], paths: dict[str, Path]) -> None:
        self.records = [r for r in records if r.id in paths]
        self.paths = paths

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        try:
            return {"record": record, "window": load(self.paths[record.id])}
        except UNREADABLE as e:
            return {"record": record, "window": None, "error": f"{type(e).__name__}: {e}"}

    def evidence(self) -> dict[str, list[Measurement]]:
        """Facts of every clip that can be read, by record id."""
        windows = ((r.id, self[k]["window"]) for k, r in enumerate(self.records))
        return {name: w.evidence for name, w in windows if w is not None}


def make_row(backbone: Backbone, sample: Sample, card: Card) -> PackedRow:
    """The same segments and branches that `Rater` encodes."""
    s = sample
    return pack_window(backbone, s.window, s.questions, s.language, isolate=card.isolate, style=card.facts, only=s.only)


class Collator:
    """Batch of items -> model inputs and targets (`asked`).

    `teacher` labels those rows of `draw` that ask for it. What is drawn follows from seed, epoch and items alone, not
    from a running state: a resumed run asks what the unbroken one would have. `epoch` is set by the trainer.
    """

    def __init__(
        self, backbone: Backbone, card: Card, seed: int, draw: DrawRows, teacher: Teacher | None = None
    ) -> None:
        self.backbone, self.card, self.seed = backbone, card, seed
        self.draw, self.teacher = draw, teacher
        self.epoch = 0

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        samples, _ = self.drawn(items)
        rows = [make_row(self.backbone, s, self.card) for s in samples]
        answers: list[tuple[int, int, int]] = []
        levels: list[tuple[int, int, int, Target]] = []
        for k, (sample, row, targets) in enumerate(zip(samples, rows, self._targets(samples), strict=True)):
            for start, b in zip(row.starts, row.branches, strict=True):
                first = b.stem_end
                if b.level:
                    # ranks are compared within one dataset and one aspect only
                    group = hash_group(sample.record.dataset, self.card.aspects.index(b.aspect))
                    levels.append((k, start + first, group, targets[b.aspect]))
                    first += 1  # the level token itself is learnt from the soft target, not from this word
                answers += [(k, start + at, b.ids[at + 1]) for at in range(first, len(b.ids) - 1)]
        return {"inputs": collate(rows, self.backbone.tokenizer.pad_token_id), **asked(answers, levels)}

    def drawn(self, items: list[dict[str, Any]]) -> tuple[list[Sample], random.Random]:
        """The rows to be, and the chance that they were drawn by."""
        # A clip may come several times in an epoch of weighted sources: `turn` tells its rows apart.
        who = [f"{i['record'].id}@{i.get('turn', 0)}" for i in items]
        rng = random.Random("/".join([str(self.seed), str(self.epoch), *who]))
        return self.draw(items, list(self.card.languages), rng), rng

    def _targets(self, samples: list[Sample]) -> list[dict[str, Target]]:
        """Level targets by aspect: the labels, or what the teacher makes of the facts that the row shows."""
        out = [{a: target(lb) for a, lb in s.record.labels.items()} for s in samples]
        if self.teacher is not None:
            taught = [k for k, s in enumerate(samples) if s.taught]
            labels = self.teacher.label([(samples[k].window.evidence, out[k]) for k in taught])
            for k, targets in zip(taught, labels, strict=True):
                out[k] = targets
        return out


def asked(answers: list[tuple[int, int, int]], levels: list[tuple[int, int, int, Target]]) -> dict[str, torch.Tensor]:
    """(row, column, next token) of answer tokens and (row, column, group, target) of level positions, as tensors.

    answer_at [A, 2], answer_ids [A]; level_at [L, 2], level_group, level_mean, level_std [L], level_target [L, 5].
    """
    said = torch.tensor(answers, dtype=torch.long).view(-1, 3)
    at = torch.tensor([where[:3] for where in levels], dtype=torch.long).view(-1, 3)
    targets = [t for *_, t in levels]
    return {
        "answer_at": said[:, :2],
        "answer_ids": said[:, 2],
        "level_at": at[:, :2],
        "level_group": at[:, 2],
        "level_target": torch.tensor([t.probs for t in targets], dtype=torch.float32).view(-1, 5),
        "level_mean": torch.tensor([t.mean for t in targets], dtype=torch.float32),
        "level_std": torch.tensor([t.std for t in targets], dtype=torch.float32),
    }


def hash_group(dataset: str, aspect: int) -> int:
    """A stable number per dataset and aspect (Python's own hash differs between processes)."""
    return zlib.crc32(dataset.encode()) * 8 + aspect


class Batcher:
    """Items -> batch of `collator`, plus "about": record ids and how much of everything the batch holds.

    A clip that cannot be read is named once, counted in `lost` and replaced by nothing: its batch is smaller. With more
    than one rank every batch has pictures and sound (`ranks.Fillers`).
    """

    def __init__(self, collator: Collator, fillers: Fillers, towers: TowerCache | None = None) -> None:
        self.collator, self.fillers, self.towers = collator, fillers, towers
        self.lost: dict[str, str] = {}

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        for item in items:
            name = item["record"].id
            if item["window"] is None and name not in self.lost:
                self.lost[name] = item["error"]
                log.warning("clip %s cannot be read and is left out: %s", name, item["error"])
        items = [i for i in items if i["window"] is not None]
        if self.towers is not None:
            self.towers.open([i["window"].views for i in items])
        pad = self.fillers.pad
        nothing: dict[str, Any] = {"inputs": collate([empty_row(pad)], pad), **asked([], [])}
        batch = self.collator(items) if items else nothing
        about = contents(batch, pad) | {"ids": [i["record"].id for i in items], "clips": len(items)}
        if ranks.world() > 1:
            batch["inputs"] = self.fillers.fill(batch["inputs"])
        if self.towers is not None:
            batch["recall"] = self.towers.lookups(batch["inputs"])
            for part, count in (("vision", "patches"), ("audio", "mel")):
                if part in batch["recall"] and batch["recall"][part].found is not None:
                    about[count] = 0  # not computed
        return batch | {"about": about}


def contents(batch: dict[str, Any], pad: int) -> dict[str, Any]:
    """Questions, tokens, the squares of row lengths (attention), picture patches and mel frames of a collated batch."""
    inputs = batch["inputs"]
    places = torch.cat([batch["answer_at"], batch["level_at"]])
    flat = (places[:, 0] * (inputs["input_ids"].shape[1] + 1) + places[:, 1]).unique()  # sorted
    lengths = (inputs["input_ids"] != pad).sum(1)
    return {
        "questions": int((flat.diff() > 1).sum()) + bool(len(flat)),  # an answer is a run of neighbouring places
        "tokens": int(lengths.sum()),
        "squares": int((lengths**2).sum()),
        "patches": len(inputs.get("pixel_values_videos", ())),
        "mel": int(inputs["feature_attention_mask"].sum()) if "feature_attention_mask" in inputs else 0,
    }
