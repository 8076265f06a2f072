"""Record files of a run: read, checked, prepared, and mixed by weight and task."""

from __future__ import annotations

import logging
import random
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.records import Record, read_records
from train import cache, ranks
from train.config import Config, QuestionMix, RecordFile, Stage
from train.data import Clips
from train.distil import distilled, read_ratings
from train.nano.teacher import Teacher
from train.questions import Drawing
from train.reward import rewardable

log = logging.getLogger(__name__)
SPLIT = "python -m data_recipes split {0} -o split.jsonl --shares 70/15/15 makes train, val and test"
DEPTHS = ("stage1", "stage2", "stage3")  # of questions: keys of a mixture


@dataclass
class SplitRecords:
    """One record file: what is trained on, what is held out."""

    dataset: RecordFile
    train: list[Record]
    held_out: list[Record]

    @property
    def folder(self) -> Path:
        """Media paths are relative to it."""
        return self.dataset.records.parent


def read_sources(config: Config) -> list[SplitRecords]:
    """All record files of a config, with a teacher's ratings in the training labels where `distil` asks for them.

    Raises ConfigError: a file that is missing, has no training record, shares an id with another, or whose `tasks`
    name a task that none of its questions has.
    """
    ratings = read_ratings(config.distil.ratings) if config.distil is not None else None
    out: list[SplitRecords] = []
    owner: dict[str, Path] = {}
    share = -(-config.val_clips // len(config.sources))
    for dataset in config.sources:
        if not dataset.records.is_file():
            given = "--set records=FILE" if config.records else "--set 'datasets=[{records: FILE}]'"
            raise ConfigError(f"record file {dataset.records} does not exist (of the config, or {given})")
        records = [_dealt(r, config.fold) for r in read_records(dataset.records)]
        for r in records:
            if owner.setdefault(r.id, dataset.records) != dataset.records:
                raise ConfigError(f"record id {r.id!r} is in {owner[r.id]} and in {dataset.records}: ids must differ")
        train = [r for r in records if r.split == "train"]
        if not train:
            raise ConfigError(f"{dataset.records} has no record with split 'train': {SPLIT.format(dataset.records)}")
        known = {q.task for r in train for q in r.questions}
        for task in dataset.tasks:
            if task not in known and task not in DEPTHS:
                allowed = ", ".join([*DEPTHS, *sorted(known)])
                raise ConfigError(f"{dataset.records}: tasks: {task!r} is none of {allowed}")
        if config.distil is not None and ratings is not None:
            train = distilled(train, dataset.records.parent, ratings, config.distil)
        out.append(SplitRecords(dataset, train, [r for r in records if r.split == "val"][:share]))
    return out


def _dealt(record: Record, fold: int | None) -> Record:
    """The record with its part of split `fold`."""
    if fold is None:
        return record
    if fold >= len(record.folds):
        raise ConfigError(f"record {record.id!r} has {len(record.folds)} folds, asked for is number {fold} (`fold`)")
    return record.model_copy(update={"split": record.folds[fold]})


def unheld(sources: list[SplitRecords]) -> str | None:
    """What is lost, and how to mend it, where no clip is held out; None where some is."""
    if any(s.held_out for s in sources):
        return None
    files = ", ".join(str(s.dataset.records) for s in sources)
    return (
        f"no record of {files} has split 'val': no SRCC is measured while this trains, and the last checkpoint is "
        f"taken instead of the best; {SPLIT.format(sources[0].dataset.records)}"
    )


@dataclass
class RunData:
    """What all stages of a run learn from."""

    config: Config
    sources: list[SplitRecords]
    workers: int  # processes that prepare clips
    _shown: tuple[ViewSpec, tuple[Clips, Clips]] | None = None  # the last that were asked for

    def clips(self, views: ViewSpec) -> tuple[Clips, Clips]:
        """Training and held-out clips of all sources as `views` shows them; those that cannot be read are left out."""
        if self._shown is None or self._shown[0] != views:
            self._shown = views, self._prepared(views)
        return self._shown[1]

    def _prepared(self, views: ViewSpec) -> tuple[Clips, Clips]:
        paths: dict[str, Path] = {}
        for s in self.sources:
            build = partial(cache.build, [*s.train, *s.held_out], s.folder, s.folder / "cache", views)
            made, errors = ranks.first(partial(build, workers=self.workers))
            paths |= made
            if errors:
                first = next(iter(errors.items()))
                log.warning("%s: %d clips cannot be used, first: %s", s.dataset.records, len(errors), first)
        clips = Clips([r for s in self.sources for r in s.train], paths)
        val = Clips([r for s in self.sources for r in s.held_out], paths)
        log.info("%d training clips, %d held-out clips", len(clips), len(val))
        return clips, val

    def teacher(self, views: ViewSpec) -> Teacher | None:
        """Fitted on the facts of the clips, if the config asks for one."""
        if not self.config.teacher:
            return None
        clips, _ = self.clips(views)
        return Teacher(clips.records, clips.evidence(), self.config.seed)


def mixture_of(stage: Stage, dataset: RecordFile) -> QuestionMix:
    """The stage's mixture with the dataset's factors."""
    t = dataset.tasks
    own = {k: v for k, v in t.items() if k not in DEPTHS}
    tasks = {k: stage.mixture.tasks.get(k, 1.0) * own.get(k, 1.0) for k in {*stage.mixture.tasks, *own}}
    depths = {k: getattr(stage.mixture, k) * t.get(k, 1.0) for k in DEPTHS}
    return stage.mixture.model_copy(update={**depths, "tasks": tasks})


def usable(record: Record, stage: Stage, mixture: QuestionMix) -> bool:
    """Whether the record has anything this stage asks for: a score for level rows, questions for the others."""
    if stage.reward:
        return any(rewardable(record, language, {}) for language in LANGUAGES)
    if stage.practice:
        return bool({"video", "audio"} & set(record.labels))
    asked = {q.stage for q in record.questions if mixture.tasks.get(q.task, 1.0) > 0}
    return bool(
        (mixture.stage1 > 0 and 1 in asked)
        or (mixture.stage2 > 0 and record.labels)
        or (mixture.stage3 + mixture.lists > 0 and 3 in asked)
    )


def shares(stage: Stage, sources: list[SplitRecords], ids: set[str] | None = None) -> list[dict[str, Any]]:
    """Of each source: clips, clips usable in this stage, and its share of the rows. `ids`: those that can be read.

    Raises ConfigError when no source has anything for the stage.
    """
    out: list[dict[str, Any]] = []
    for s in sources:
        mixture = mixture_of(stage, s.dataset)
        fit = [r for r in s.train if (ids is None or r.id in ids) and usable(r, stage, mixture)]
        out.append({"records": str(s.dataset.records), "clips": len(s.train), "usable": len(fit)})
        if not fit:
            log.warning("stage %s: %s has no score or question for it", stage.name, s.dataset.records)
    mass = [s.dataset.weight * row["usable"] for s, row in zip(sources, out, strict=True)]
    if not sum(mass):
        files = ", ".join(row["records"] for row in out)
        lacking = "a score or question of its mixture"
        if stage.reward:
            lacking = "a list or description of faults that are known (`reward`)"
        raise ConfigError(f"stage {stage.name}: no training record of {files} has {lacking}")
    for row, m in zip(out, mass, strict=True):
        row["share"] = round(m / sum(mass), 4)
    return out


class WeightedClips(Dataset[dict[str, Any]]):
    """Clips in the proportions of the weights: position -> clip, as many positions as the stage trains rows.

    A clip of weight 2 comes twice as often as one of weight 1; every round through a source is in another order.
    """

    def __init__(self, clips: Any, groups: list[list[int]], weights: list[float], rows: int, seed: int) -> None:
        self.clips = clips
        rng = random.Random(seed)
        mass = [w * len(g) for w, g in zip(weights, groups, strict=True)]
        ends = [round(rows * sum(mass[: k + 1]) / sum(mass)) for k in range(len(mass))]
        self.order: list[int] = []
        for group, start, end in zip(groups, [0, *ends], ends, strict=False):
            part: list[int] = []
            while len(part) < end - start:
                part += rng.sample(group, len(group))
            self.order += part[: end - start]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item: dict[str, Any] = self.clips[self.order[index]]
        return item | {"turn": index}


def mixed(clips: Any, records: list[Record], stage: Stage, sources: list[SplitRecords], seed: int) -> Any:
    """The stage's data set: `clips` themselves where all count once, else `WeightedClips`. records: of the clips."""
    groups: list[list[int]] = []
    at = {r.id: k for k, r in enumerate(records)}
    for s in sources:
        mixture = mixture_of(stage, s.dataset)
        groups.append([at[r.id] for r in s.train if r.id in at and usable(r, stage, mixture)])
    shares(stage, sources, set(at))  # refuses a stage without anything to train on
    weights = [s.dataset.weight for s in sources]
    if len(set(weights)) == 1 and sum(map(len, groups)) == len(records):
        return clips
    rows = max(sum(map(len, groups)), stage.steps * stage.batch * stage.accumulate * ranks.world())
    return WeightedClips(clips, groups, weights, rows, seed)


def drawing(stage: Stage, sources: list[SplitRecords], taught: float) -> Drawing:
    """How rows of a stage are drawn, where datasets have factors of their own by these."""
    own = {r.id: m for s in sources for m in [mixture_of(stage, s.dataset)] for r in s.train}
    return Drawing(stage.mixture, stage.dropout, taught, own)


def tasks(records: list[Record]) -> dict[str, int]:
    """Number of questions by task."""
    return dict(Counter(q.task for r in records for q in r.questions).most_common())
