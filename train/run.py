"""Runs the stages of a config: cache, warm-up, then each stage from the one before; finished stages are kept."""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mllm_avqa import __version__
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.backbones.loading import base_from
from mllm_avqa.model.scoring import level_token_ids, on_device
from mllm_avqa.schema.card import CARD_FILE, Card, ViewSpec
from mllm_avqa.schema.errors import CheckpointError
from train import cache, ranks, saving, tiny
from train.arguments import in_one_dtype, training_arguments
from train.batches import Batches, ReadableClips
from train.config import PARTS, Config, Stage
from train.data import Clips, Collator, teaches_lists
from train.errors import Interrupted
from train.held_out import HeldOut
from train.lengths import row_lengths
from train.manifest import write_manifest
from train.merging import check_adapter, fingerprint, write_merged
from train.objective import Objective
from train.parts import checkpointed, select, tuned
from train.practice import FactClips, Practice
from train.progress import Progress, trackers
from train.sources import Draw, Source, drawing, mixed, read_sources
from train.start import carded, start_of
from train.stopping import Stopper
from train.teacher import Teacher
from train.towers import tower_cache
from train.trainer import RatingTrainer
from train.warmup import warm_up

log = logging.getLogger(__name__)
DONE = "stage.json"  # written last: its presence means the stage is finished


def run(config: Config, workers: int = 1) -> Path:
    """Train every stage. Returns the directory of the last one. Safe to call again after an interruption."""
    with ranks.together():
        return _run(config, workers)


def _run(config: Config, workers: int) -> Path:
    if config.threads:
        torch.set_num_threads(config.threads)
    config.output.mkdir(parents=True, exist_ok=True)
    sources = read_sources(config)
    ranks.first(lambda: write_manifest(config))
    current = ranks.first(lambda: start_of(config, [r for s in sources for r in s.train]))
    card = carded(config, Card.load(current))
    clips, val = prepared(sources, card.views, workers)
    if config.warmup is not None and config.init is None:
        current = ranks.first(lambda: _warmed(config, current, card, clips, val))
    teacher = Teacher(clips.records, clips.evidence(), config.seed) if config.teacher else None
    for stage in config.stages:
        directory = config.output / stage.name
        if not (directory / DONE).is_file():
            views = stage.views.over(card.views)
            shown = (clips, val) if views == card.views else prepared(sources, views, workers)
            start = ranks.first(partial(_merged, stage, current, directory))
            _train_stage(config, stage, start, directory, sources, views, shown, teacher)
        current = directory
    return current


def prepared(sources: list[Source], views: ViewSpec, workers: int) -> tuple[Clips, Clips]:
    """The training and held-out clips of all sources as `views` shows them; clips that cannot be read are left out."""
    paths: dict[str, Path] = {}
    for s in sources:
        records = [*s.train, *s.held_out]
        made, errors = ranks.first(partial(cache.build, records, s.folder, s.folder / "cache", views, workers=workers))
        paths |= made
        if errors:
            first = next(iter(errors.items()))
            log.warning("%s: %d clips cannot be used, first: %s", s.dataset.records, len(errors), first)
    clips = ReadableClips([r for s in sources for r in s.train], paths)
    val = ReadableClips([r for s in sources for r in s.held_out], paths)
    log.info("%d training clips, %d held-out clips", len(clips), len(val))
    return clips, val


def _warmed(config: Config, start: Path, card: Card, clips: Clips, val: Clips) -> Path:
    """The start with its towers warmed up."""
    done = config.output / "warmup"
    if not (done / DONE).is_file():
        backbone, _ = open_checkpoint(start, card)
        report = warm_up(backbone, clips, val, config)
        tiny.save(backbone.model, backbone.tokenizer, card, done)
        (done / DONE).write_text(json.dumps(report, indent=1))
    return done


def open_checkpoint(directory: Path, card: Card | None = None) -> tuple[Backbone, Card]:
    """A checkpoint in fp32, with its own card or with `card` in its place."""
    card = card or Card.load(directory)
    return load_backbone(directory, card, torch.float32), card


def _merged(stage: Stage, start: Path, directory: Path) -> Path:
    """Where `adapter: merge` starts a new adapter: full weights beside it, with the old one in them."""
    low = any(getattr(stage.plan, part).tune == "lora" for part in PARTS)
    if stage.adapter == "continue" or not low or not (start / "adapter_config.json").is_file():
        return start
    merged = directory / "merged"
    if not (merged / CARD_FILE).is_file():  # written last
        write_merged(*open_checkpoint(start), merged)
    return merged


def _train_stage(
    config: Config,
    stage: Stage,
    start: Path,
    directory: Path,
    sources: list[Source],
    views: ViewSpec,
    shown: tuple[Clips, Clips],
    teacher: Teacher | None,
) -> None:
    from transformers import PrinterCallback, set_seed
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    args = training_arguments(config, stage, directory)
    set_seed(config.seed)  # of a new adapter
    clips, val = shown
    own = Card.load(start)
    check_adapter(start, own)
    card = carded(config, own).model_copy(update={"views": views})
    backbone, _ = open_checkpoint(start, card)
    select(backbone, stage)
    in_one_dtype(backbone.model)
    if config.gradient_checkpointing:
        checkpointed(backbone)
    # An adapter names the full weights it sits on, relative to itself, so that a run folder can be moved.
    known: dict[str, object] = {}
    if hasattr(backbone.model, "peft_config"):
        card.base_model = base_from(start, card, directory)
        known["base"] = fingerprint(start, own)
    else:
        card.base_model = card.revision = None
    card.lists_faults |= teaches_lists(stage, clips.records)
    card.training = card.training | {
        stage.name: {
            "steps": stage.steps,
            "batch": stage.batch * stage.accumulate * ranks.world(),
            "lr": stage.lr,
            "tune": tuned(stage),
            **known,
        }
    }
    towers = tower_cache(config, backbone, card)
    levels = level_token_ids(backbone, card.aspects, card.level_words)
    objective = Objective(backbone, levels, stage.weights, towers)
    dataset: Clips | FactClips = clips
    draw = None
    if stage.practice is not None:
        dataset = FactClips(clips)
        draw = Practice(dataset, stage.mixture.stage1, stage.practice, Draw(stage, sources, taught=True)).draw
    rows = mixed(dataset, clips.records, stage, sources, config.seed)
    if draw is None:
        draw = drawing(stage, sources, taught=teacher is not None)
    collator = Collator(backbone, stage.mixture, stage.dropout, card, config.seed, teacher, draw)
    held_out = HeldOut(backbone, card, val, config.languages[0], stage.batch, towers)
    batches = Batches(collator, held_out.fillers, towers)
    trainer = RatingTrainer(
        model=objective,
        args=args,
        train_dataset=rows,
        eval_dataset=val,
        data_collator=batches,
        callbacks=[stopper := Stopper(), Progress(stage.name), *trackers(config.output, stage.name)],
        card=card,
        stage=stage,
        held_out=held_out,
        lengths=row_lengths(rows, backbone, card) if stage.by_length else None,
    )
    trainer.remove_callback(PrinterCallback)
    begin = time.time()
    last = saving.last_checkpoint(directory, saving.layout(trainer))
    with stopper.listening():
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if stopper.stopped:
        raise Interrupted(f"stage {stage.name} stopped at step {trainer.state.global_step} of {stage.steps}, all saved")
    history = [h for h in trainer.state.log_history if "loss" in h]
    report: dict[str, Any] = {
        "steps": stage.steps,
        "seconds": round(time.time() - begin, 1),
        "first_loss": history[0]["loss"] if history else None,
        "last_loss": history[-1]["loss"] if history else None,
        "held_out": held_out.score(trainer.model_wrapped),
        "best": {"step": trainer.state.best_global_step, "srcc": trainer.state.best_metric},
        "unreadable": sorted({name for lost in ranks.gathered(batches.lost) for name in lost}),
        "package": __version__,
        "torch": torch.__version__,
    }
    trainer.save_model(str(directory))
    if towers is not None:
        towers.close()
    logits = _logits(backbone, batch := Batches(collator, held_out.fillers)([rows[0]]))
    unset_hf_deepspeed_config()  # from here on weights are read whole
    report["reload_max_diff"] = ranks.first(lambda: reload_difference(backbone, logits, directory, batch))
    if ranks.rank() == 0:
        (directory / DONE).write_text(json.dumps(report, indent=1))
    ranks.wait()
    log.info("%s: %s", stage.name, report)


def _logits(backbone: Backbone, batch: dict[str, Any]) -> torch.Tensor:
    """[B, T, V] of a batch; with ZeRO-3 every rank must ask for the same one."""
    backbone.model.eval()
    with torch.no_grad():
        logits: torch.Tensor = backbone.head()(backbone.hidden(on_device(batch["inputs"], backbone)).last_hidden_state)
    return logits


def reload_difference(backbone: Backbone, logits: torch.Tensor, directory: Path, batch: dict[str, Any]) -> float:
    """Largest |difference| between the logits of the trained model and those of its saved copy.

    Raises CheckpointError above 1e-5: a checkpoint that does not give back what was trained must not go unnoticed.
    """
    again, _ = open_checkpoint(directory)
    for p in again.model.parameters():  # not its buffers: they stay in fp32 (`RatingTrainer`)
        p.data = p.data.to(logits)
    again.model.to(logits.device)
    difference = float((logits - _logits(again, batch)).abs().max())
    if not difference <= 1e-5:
        raise CheckpointError(f"{directory} reloads with logits off by {difference:.2g}")
    return difference
