"""Records and prepared windows -> packed rows: many questions behind one encoded clip."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from mllm_avqa.corridor import pack_window
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Branch, FactStyle, aspect_branch, explain_branch
from mllm_avqa.model.rows import Row, collate
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.levels import WORDS, word
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Record
from mllm_avqa.schema.text import TextContext
from train.cache import CachedWindow, load
from train.config import Dropout, Mixture, Stage
from train.targets import Target, target
from train.teacher import Teacher

LIST = "list"  # task of the questions for all faults of a side (`prompting.list_branch`)


@dataclass
class Sample:
    """One row to be: what the model gets to see and what it is asked."""

    record: Record
    window: CachedWindow
    questions: list[Branch]
    only: tuple[str, ...] | None = None  # segments of the prefix; None: all
    taught: bool = False  # level targets are the teacher's


class Clips(Dataset[dict[str, Any]]):
    """Index -> record and its prepared window. Every epoch draws other questions and another dropout."""

    def __init__(self, records: list[Record], paths: dict[str, Path]) -> None:
        self.records = [r for r in records if r.id in paths]
        self.paths = paths

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        return {"record": record, "window": load(self.paths[record.id])}

    def evidence(self) -> dict[str, list[Measurement]]:
        """Facts of every clip that can be read, by record id."""
        windows = ((r.id, self[k]["window"]) for k, r in enumerate(self.records))
        return {name: w.evidence for name, w in windows if w is not None}


def drop(window: CachedWindow, rates: Dropout, rng: random.Random, blind: bool = False) -> CachedWindow:
    """Lose facts, pixels, sound or context of one row; blind: all pixels and sound, never all facts."""
    views, evidence, context = window.views, window.evidence, window.context
    for modality in ("video", "audio"):
        if blind:
            continue
        if rng.random() < rates.facts:
            evidence = [m for m in evidence if m.modality != modality]
        elif rng.random() < rates.views and any(m.modality == modality for m in evidence):
            v = views
            views = (
                Views(None, None, v.sound, v.seconds_per_pair)
                if modality == "video"
                else Views(v.whole, v.fragments, None, v.seconds_per_pair)
            )
    if rng.random() < rates.context:
        context = TextContext()
    return CachedWindow(Views(None, None, None) if blind else views, evidence, context, window.missing)


def branches(
    record: Record, mixture: Mixture, language: str, missing: dict[str, str], rng: random.Random
) -> list[Branch]:
    """The questions of one row: stage-1 questions, every labelled aspect, descriptions and a list of faults."""
    out: list[Branch] = []
    pool = record.asked(1, language)
    count = int(mixture.stage1) + (rng.random() < mixture.stage1 % 1)
    for q in rng.sample(pool, min(count, len(pool))):
        out.append(Branch(q.aspect or "overall", q.question, "", q.answer))
    if rng.random() < mixture.stage2:
        for aspect in record.labels:
            if aspect not in missing:
                out.append(aspect_branch(aspect, language, level=WORDS[0]))
    explained = explanation(record, language, missing, rng)
    if explained is not None and rng.random() < mixture.stage3:
        out.append(explained)
    for task in ("describe", LIST):
        sides = [q for q in record.asked(3, language, task) if q.aspect != "overall" and q.aspect not in missing]
        if sides and rng.random() < mixture.stage3 / 2:
            q = rng.choice(sides)
            out.append(Branch(q.aspect or "overall", q.question, "", q.answer))
    return out


def explanation(record: Record, language: str, missing: dict[str, str], rng: random.Random) -> Branch | None:
    """A description of the whole clip behind its scores and its lists of faults, as a rating asks for it."""
    whole = [q.answer for q in record.asked(3, language, "describe") if q.aspect == "overall"]
    if not whole:
        return None
    levels = {a: word(target(lb).mean) for a, lb in record.labels.items() if a not in missing}
    faults = {q.aspect: q.answer for q in record.asked(3, language, LIST) if q.aspect in levels}
    return explain_branch(levels, language, rng.choice(whole), faults)


def teaches_lists(stage: Stage, records: list[Record]) -> bool:
    """Whether a model is taught to list the faults of a side before it explains (`Card.lists_faults`)."""
    drawn = stage.mixture.stage3 > 0
    if (shares := stage.practice) is not None:
        drawn = (drawn and shares.whole > 0) or shares.listed > 0 or shares.overall * shares.described > 0
    return drawn and any(q.task == LIST for r in records for q in r.questions)


def make_row(backbone: Backbone, sample: Sample, language: str, isolate: bool, style: FactStyle = "values") -> Row:
    """The same segments and branches that `Rater` encodes."""
    return pack_window(
        backbone, sample.window, sample.questions, language, isolate=isolate, style=style, only=sample.only
    )


def whole_rows(
    items: list[dict[str, Any]],
    languages: list[str],
    rng: random.Random,
    rates: Dropout,
    taught: bool,
    asked: Callable[[Record, str, dict[str, str], random.Random], list[Branch]],
) -> list[tuple[Sample, str]]:
    """A row of each item, with its language: parts dropped at `rates`, questions as `asked` draws them."""
    blind = rng.random() < rates.blind
    out = []
    for item in items:
        language = rng.choice(languages)
        window = drop(item["window"], rates, rng, blind)
        questions = asked(item["record"], language, window.missing, rng)
        out.append((Sample(item["record"], window, questions, taught=taught), language))
    return out


Draw = Callable[[list[dict[str, Any]], list[str], random.Random], list[tuple[Sample, str]]]


class Collator:
    """Batch of items -> model inputs and targets.

    answer_at, answer_ids: flat positions (row, column) whose next token is an answer token, and that token;
    level_at, level_target, level_mean, level_std, level_group: the same for level positions.
    `draw` replaces the usual questions by its own rows (`practice.Practice`); `teacher` labels those that ask for it.
    """

    def __init__(
        self,
        backbone: Backbone,
        mixture: Mixture,
        dropout: Dropout,
        card: Card,
        seed: int,
        teacher: Teacher | None = None,
        draw: Draw | None = None,
    ) -> None:
        self.backbone, self.mixture, self.dropout, self.card = backbone, mixture, dropout, card
        self.seed, self.teacher = seed, teacher
        self.draw = draw

    def _samples(self, items: list[dict[str, Any]], rng: random.Random) -> list[tuple[Sample, str]]:
        if self.draw is not None:
            return self.draw(items, list(self.card.languages), rng)
        taught = self.teacher is not None
        return whole_rows(items, list(self.card.languages), rng, self.dropout, taught, self._asked)

    def _asked(self, record: Record, language: str, missing: dict[str, str], rng: random.Random) -> list[Branch]:
        return branches(record, self.mixture, language, missing, rng)

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        # Drawn from the batch itself, not from a running state: a resumed run asks what the unbroken one would have.
        rng = random.Random(f"{self.seed}/" + "/".join(i["record"].id for i in items))
        rows: list[Row] = []
        answer_at: list[tuple[int, int]] = []
        answer_ids: list[int] = []
        level_at: list[tuple[int, int]] = []
        level: dict[str, list[Any]] = {"target": [], "mean": [], "std": [], "group": []}
        samples = self._samples(items, rng)
        targets = self._targets([s for s, _ in samples])
        for k, (sample, language) in enumerate(samples):
            row = make_row(self.backbone, sample, language, self.card.isolate, self.card.facts)
            rows.append(row)
            for start, b in zip(row.starts, row.branches, strict=True):
                first = b.stem_end
                if b.level:
                    t = targets[k][b.aspect]
                    level_at.append((k, start + first))
                    level["target"].append(t.probs)
                    level["mean"].append(t.mean)
                    level["std"].append(t.std)
                    # ranks are compared within one dataset and one aspect only
                    level["group"].append(hash_group(sample.record.dataset, self.card.aspects.index(b.aspect)))
                    first += 1  # the level token itself is learnt from the soft target, not from this word
                for at in range(first, len(b.ids) - 1):
                    answer_at.append((k, start + at))
                    answer_ids.append(b.ids[at + 1])
        batch: dict[str, Any] = {"inputs": collate(rows, self.backbone.tokenizer.pad_token_id)}
        batch["answer_at"] = torch.tensor(answer_at, dtype=torch.long).view(-1, 2)
        batch["answer_ids"] = torch.tensor(answer_ids, dtype=torch.long)
        batch["level_at"] = torch.tensor(level_at, dtype=torch.long).view(-1, 2)
        batch["level_target"] = torch.tensor(level["target"], dtype=torch.float32).view(-1, 5)
        batch["level_mean"] = torch.tensor(level["mean"], dtype=torch.float32)
        batch["level_std"] = torch.tensor(level["std"], dtype=torch.float32)
        batch["level_group"] = torch.tensor(level["group"], dtype=torch.long)
        return batch

    def _targets(self, samples: list[Sample]) -> list[dict[str, Target]]:
        """Level targets by aspect: the labels, or what the teacher makes of the facts that the row shows."""
        out = [{a: target(lb) for a, lb in s.record.labels.items()} for s in samples]
        if self.teacher is not None:
            taught = [k for k, s in enumerate(samples) if s.taught]
            labels = self.teacher.label([(samples[k].window.evidence, out[k]) for k in taught])
            for k, targets in zip(taught, labels, strict=True):
                out[k] = targets
        return out


def hash_group(dataset: str, aspect: int) -> int:
    """A stable number per dataset and aspect (Python's own hash differs between processes)."""
    import zlib

    return zlib.crc32(dataset.encode()) * 8 + aspect
