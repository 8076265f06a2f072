"""Records and prepared windows -> packed rows: many questions behind one encoded clip."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from mllm_avqa.backbones.base import Backbone
from mllm_avqa.context.base import TextContext
from mllm_avqa.evidence import FACTS
from mllm_avqa.evidence.base import Measurement
from mllm_avqa.levels import WORDS, Scale, soft_target, sos_std, word
from mllm_avqa.prompting import Branch, aspect_branch, explain_branch
from mllm_avqa.records import Label, Record
from mllm_avqa.rows import Row, collate, pack
from mllm_avqa.scoring import encode_prefix
from mllm_avqa.views import Views
from train.cache import CachedWindow, load
from train.config import Dropout, Mixture


@dataclass
class Target:
    """Label of one aspect on 1-5, higher better."""

    mean: float
    std: float
    probs: list[float]  # order of levels.WORDS


def target(label: Label) -> Target:
    """A record's label as mean, std and soft level target. Votes, where given, are used as they are."""
    scale = Scale(*label.scale, label.higher_is_better)
    mean = min(5.0, max(1.0, scale.to_five(label.mean)))
    std = scale.std_to_five(label.std) if label.std is not None else sos_std(mean)
    if label.votes is not None and sum(label.votes) > 0:
        worst_first = label.votes if label.higher_is_better else label.votes[::-1]
        probs = [v / sum(label.votes) for v in worst_first[::-1]]
    else:
        probs = soft_target(mean, std).tolist()
    return Target(mean, std, probs)


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
    evidence = [disturbed(m, rates.jitter, rng) for m in evidence if rng.random() >= rates.fact]
    return CachedWindow(Views(None, None, None) if blind else views, evidence, context, window.missing)


def disturbed(m: Measurement, spread: float, rng: random.Random) -> Measurement:
    """The measurement with its value off by a random share, and the severity that the new value has."""
    fact = FACTS.get(m.name)
    if spread == 0 or m.value is None or fact is None:
        return m
    value = m.value * math.exp(rng.gauss(0.0, spread))
    judged = fact.severity(m.value) == m.severity  # where the catalogue was overruled, the verdict stays
    return m.model_copy(update={"value": value, "severity": fact.severity(value) if judged else m.severity})


def branches(
    record: Record, mixture: Mixture, language: str, missing: dict[str, str], rng: random.Random
) -> list[Branch]:
    """The questions of one row: stage-1 questions, every labelled aspect, and a description."""
    out: list[Branch] = []
    pool = [q for q in record.questions if q.language == language and q.stage == 1]
    count = int(mixture.stage1) + (rng.random() < mixture.stage1 % 1)
    for q in rng.sample(pool, min(count, len(pool))):
        out.append(Branch(q.aspect or "overall", q.question, "", q.answer))
    if rng.random() < mixture.stage2:
        for aspect in record.labels:
            if aspect not in missing:
                out.append(aspect_branch(aspect, language, level=WORDS[0]))
    described = [q for q in record.questions if q.language == language and q.stage == 3]
    whole = [q for q in described if q.aspect == "overall"]
    if whole and rng.random() < mixture.stage3:
        levels = {a: word(target(lb).mean) for a, lb in record.labels.items() if a not in missing}
        out.append(explain_branch(levels, language, rng.choice(whole).answer))
    sides = [q for q in described if q.aspect != "overall" and q.aspect not in missing]
    if sides and rng.random() < mixture.stage3 / 2:
        q = rng.choice(sides)
        out.append(Branch(q.aspect or "overall", q.question, "", q.answer))
    return out


def make_row(backbone: Backbone, window: CachedWindow, questions: list[Branch], language: str, isolate: bool) -> Row:
    """The same segments and branches that `Rater` encodes."""
    segments, media = encode_prefix(backbone, window.views, window.evidence, window.context, language)
    return pack(segments, [backbone.encode_branch(b) for b in questions], media, isolate)


class Collator:
    """Batch of items -> model inputs and targets.

    answer_at, answer_ids: flat positions (row, column) whose next token is an answer token, and that token;
    level_at, level_target, level_mean, level_std, level_group: the same for level positions.
    """

    def __init__(
        self,
        backbone: Backbone,
        mixture: Mixture,
        dropout: Dropout,
        languages: list[str],
        isolate: bool,
        seed: int,
        aspects: list[str],
    ) -> None:
        self.backbone, self.mixture, self.dropout = backbone, mixture, dropout
        self.languages, self.isolate, self.aspects = languages, isolate, aspects
        self.seed = seed

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        # Drawn from the batch itself, not from a running state: a resumed run asks what the unbroken one would have.
        rng = random.Random(f"{self.seed}/" + "/".join(i["record"].id for i in items))
        rows: list[Row] = []
        answer_at: list[tuple[int, int]] = []
        answer_ids: list[int] = []
        level_at: list[tuple[int, int]] = []
        level: dict[str, list[Any]] = {"target": [], "mean": [], "std": [], "group": []}
        blind = rng.random() < self.dropout.blind
        for item in items:
            record: Record = item["record"]
            language = rng.choice(self.languages)
            window: CachedWindow = item["window"]
            window = drop(window, self.dropout, rng, blind)
            questions = branches(record, self.mixture, language, window.missing, rng)
            row = make_row(self.backbone, window, questions, language, self.isolate)
            k = len(rows)
            rows.append(row)
            for start, b in zip(row.starts, row.branches, strict=True):
                first = b.stem_end
                if b.level:
                    t = target(record.labels[b.aspect])
                    level_at.append((k, start + first))
                    level["target"].append(t.probs)
                    level["mean"].append(t.mean)
                    level["std"].append(t.std)
                    # ranks are compared within one dataset and one aspect only
                    level["group"].append(hash_group(record.dataset, self.aspects.index(b.aspect)))
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


def hash_group(dataset: str, aspect: int) -> int:
    """A stable number per dataset and aspect (Python's own hash differs between processes)."""
    import zlib

    return zlib.crc32(dataset.encode()) * 8 + aspect
