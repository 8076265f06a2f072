"""Runs the stages of a config: start, warm-up, then each stage from the one before; finished stages are kept."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path

import torch

from mllm_avqa.schema.card import Card
from train import ranks, saving
from train.config import Config
from train.manifest import write_manifest
from train.nano.warmup import warm_up
from train.sources import RunData, read_sources, unheld
from train.stage import DONE, train_stage
from train.start import carded, reopened, start_of

log = logging.getLogger(__name__)


def run(config: Config, workers: int = 1) -> Path:
    """Train every stage. Returns the directory of the last one. Safe to call again after an interruption."""
    with ranks.together():
        return _run(config, workers)


def _run(config: Config, workers: int) -> Path:
    if config.threads:
        torch.set_num_threads(config.threads)
    sources = read_sources(config)
    if lacking := unheld(sources):
        log.warning(lacking)
    config.output.mkdir(parents=True, exist_ok=True)
    material = RunData(config, sources, workers)
    ranks.first(lambda: write_manifest(config))
    current = ranks.first(lambda: start_of(config, [r for s in material.sources for r in s.train]))
    card = carded(config, Card.load(current))
    material.clips(card.views)  # prepared, and what cannot be is told, before anything is trained
    if config.warmup is not None and config.init is None:
        current = ranks.first(partial(_warmed, material, current, card))
    teacher = material.teacher(card.views)
    for stage in config.stages:
        directory = config.output / stage.name
        if not (directory / DONE).is_file():
            train_stage(material, stage, current, directory, stage.views.over(card.views), teacher)
        current = directory
    return current


def _warmed(material: RunData, start: Path, card: Card) -> Path:
    """The start with its towers warmed up."""
    done = material.config.output / "warmup"
    if not (done / DONE).is_file():
        backbone, _ = reopened(start, card)
        report = warm_up(backbone, *material.clips(card.views), material.config)
        saving.save(backbone.model, backbone.tokenizer, card, done)
        (done / DONE).write_text(json.dumps(report, indent=1))
    return done
