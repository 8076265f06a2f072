"""One stage of a run: from a checkpoint to the trained one beside its report."""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mllm_avqa import __version__
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.backbones.loading import place
from mllm_avqa.model.scoring import level_token_ids, on_device
from mllm_avqa.model.weights import base_from, weight_bytes
from mllm_avqa.schema.card import CARD_FILE, Card, ViewSpec
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.records import Record
from train import ranks, saving
from train.answers import DraftCollator, RewardTrainer
from train.arguments import in_one_dtype, training_arguments, zero_level
from train.config import PARTS, Config, Stage
from train.data import Batcher, Clips, Collator
from train.held_out import Validation
from train.lengths import row_lengths
from train.nano.practice import FactClips, Practice
from train.nano.teacher import Teacher
from train.objective import Objective
from train.parts import checkpointed, select, tuned
from train.progress import StageProgress, trackers
from train.questions import teaches_lists
from train.sources import RunData, drawing, mixed
from train.start import Below, below, carded, check_adapter, reopened, weights_sample, write_merged
from train.stopping import Interrupted, Stopper
from train.towers import TowerCache, tower_cache
from train.trainer import Epochs, RatingTrainer

log = logging.getLogger(__name__)
DONE = "stage.json"  # written last: its presence means the stage is finished


def train_stage(
    material: RunData, stage: Stage, start: Path, directory: Path, views: ViewSpec, teacher: Teacher | None
) -> None:
    """Train a stage from checkpoint `start` into `directory`, going on where an earlier call was interrupted."""
    from transformers import set_seed
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    config = material.config
    if stage.reward is not None and zero_level(config) == 3:
        raise ConfigError(f"stage {stage.name}: `reward` does not go with ZeRO-3: take train/deepspeed/zero2.json")
    clips, val = material.clips(views)
    start = ranks.first(partial(_merged, stage, start, directory))
    args = training_arguments(config, stage, directory)
    set_seed(config.seed)  # of a new adapter
    backbone, card = _opened(config, stage, start, directory, views, clips.records)
    towers = tower_cache(config, backbone, card)
    rows, collator = _rows(material, stage, backbone, card, clips, teacher, towers)
    held_out = Validation(backbone, card, val, config.languages[0], stage.batch, towers)
    batches = Batcher(collator, held_out.fillers, towers)
    levels = level_token_ids(backbone, card.aspects, card.level_words)
    rewarded: dict[str, Any] = {"fillers": held_out.fillers} if stage.reward is not None else {}
    trainer = (RewardTrainer if rewarded else RatingTrainer)(
        model=Objective(backbone, levels, stage.weights, towers),
        args=args,
        train_dataset=rows,
        eval_dataset=val,
        data_collator=batches,
        callbacks=[
            stopper := Stopper(),
            Epochs(collator),
            StageProgress(stage.name),
            *trackers(config.output, stage.name),
        ],
        card=card,
        stage=stage,
        held_out=held_out,
        lengths=row_lengths(rows, backbone, card) if stage.by_length else None,
        **rewarded,
    )
    begin = time.time()
    last = saving.last_checkpoint(directory, saving.layout(trainer))
    with stopper.listening():
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if stopper.stopped:
        raise Interrupted(f"stage {stage.name} stopped at step {trainer.state.global_step} of {stage.steps}, all saved")
    report = _report(trainer, batches, time.time() - begin)
    trainer.save_model(str(directory))
    collator.backbone = backbone  # from here on it sees all there is
    logits = _logits(backbone, batch := Batcher(collator, held_out.fillers)([rows[0]]))
    unset_hf_deepspeed_config()  # from here on weights are read whole
    how = below(config, stage, weight_bytes(start, Card.load(start)))
    report["reload_max_diff"] = ranks.first(lambda: reload_difference(backbone, logits, directory, batch, how))
    if ranks.rank() == 0:
        (directory / DONE).write_text(json.dumps(report, indent=1))
    ranks.wait()
    log.info("%s: %s", stage.name, report)


def _merged(stage: Stage, start: Path, directory: Path) -> Path:
    """Where `adapter: merge` starts a new adapter: full weights beside it, with the old one in them."""
    low = any(getattr(stage.plan, part).tune == "lora" for part in PARTS)
    if stage.adapter == "continue" or not low or not (start / "adapter_config.json").is_file():
        return start
    merged = directory / "merged"
    if not (merged / CARD_FILE).is_file():  # written last
        write_merged(*reopened(start), merged)
    return merged


def _opened(
    config: Config, stage: Stage, start: Path, directory: Path, views: ViewSpec, records: list[Record]
) -> tuple[Backbone, Card]:
    """The start with what the stage trains, and the card of what will come of it."""
    own = Card.load(start)
    check_adapter(start, own)
    card = carded(config, own).model_copy(update={"views": views})
    how = below(config, stage, weight_bytes(start, own))
    backbone, _ = reopened(start, card, how)
    select(backbone, stage)
    if how != Below() and not any(hasattr(p, "ds_id") for p in backbone.model.parameters()):
        for p in backbone.model.parameters():  # what is trained is small and stays in fp32
            p.data = p.data.float() if p.requires_grad else p.data
    in_one_dtype(backbone.model)
    if config.gradient_checkpointing:
        checkpointed(backbone)
    # An adapter names the full weights it sits on, relative to itself, so that a run folder can be moved.
    known: dict[str, object] = {}
    if hasattr(backbone.model, "peft_config"):
        card.base_model = base_from(start, card, directory)
        known["base"] = weights_sample(start, own)
    else:
        card.base_model = card.revision = None
    if teaches_lists(stage, records):
        card.lists_faults = True
        named = {d.kind for r in records for d in r.distortions}.union(card.findings.kinds)
        kinds = tuple(k for k in fault_kinds() if k in named)
        card.findings = card.findings.model_copy(update={"kinds": kinds})
    rows = stage.batch * stage.accumulate * ranks.world()
    taught = {"steps": stage.steps, "batch": rows, "lr": stage.lr, "tune": tuned(stage), **known}
    if stage.reward is not None:
        taught["reward"] = stage.reward.method
    card.training = card.training | {stage.name: taught}
    return backbone, card


def _rows(
    material: RunData,
    stage: Stage,
    backbone: Backbone,
    card: Card,
    clips: Clips,
    teacher: Teacher | None,
    towers: TowerCache | None,
) -> tuple[Any, Collator]:
    """The stage's data set, and how batches are made of it."""
    seed = material.config.seed
    own = stage.practice.labels if stage.practice is not None else 0.0
    draw: Any = drawing(stage, material.sources, taught=0.0 if teacher is None else 1.0 - own)
    items: Clips | FactClips = clips
    if stage.practice is not None:
        items = FactClips(clips)
        draw = Practice(items, stage.mixture.stage1, stage.practice, draw, stage.mixture.lettered).draw
    rows = mixed(items, clips.records, stage, material.sources, seed)
    shown_to = towers.in_front if towers else backbone
    if stage.reward is not None:
        return rows, DraftCollator(shown_to, card, seed, draw, how=stage.reward)
    return rows, Collator(shown_to, card, seed, draw, teacher)


def _report(trainer: RatingTrainer, batches: Batcher, seconds: float) -> dict[str, Any]:
    history = [h for h in trainer.state.log_history if "loss" in h]
    assert trainer.held_out is not None
    return {
        "steps": trainer.stage.steps,
        "seconds": round(seconds, 1),
        "first_loss": history[0]["loss"] if history else None,
        "last_loss": history[-1]["loss"] if history else None,
        **({"reward": [h.get("reward") for h in history[:: len(history) - 1 or 1]]} if trainer.stage.reward else {}),
        "held_out": trainer.held_out.score(trainer.model_wrapped),
        "best": {"step": trainer.state.best_global_step, "srcc": trainer.state.best_metric},
        "unreadable": sorted({name for lost in ranks.gathered(batches.lost) for name in lost}),
        "package": __version__,
        "torch": torch.__version__,
    }


def _logits(backbone: Backbone, batch: dict[str, Any]) -> torch.Tensor:
    """[B, T, V] of a batch; with ZeRO-3 every rank must ask for the same one."""
    backbone.model.eval()
    mixed = len({p.dtype for p in backbone.model.parameters() if p.is_floating_point()}) > 1
    with torch.no_grad(), torch.autocast(next(backbone.model.parameters()).device.type, torch.bfloat16, enabled=mixed):
        logits: torch.Tensor = backbone.head()(backbone.hidden(on_device(batch["inputs"], backbone)).last_hidden_state)
    return logits


def reload_difference(
    backbone: Backbone, logits: torch.Tensor, directory: Path, batch: dict[str, Any], how: Below = Below()
) -> float:
    """Largest |difference| between the logits of the trained model and those of its saved copy.

    Raises CheckpointError above 1e-5: a checkpoint that does not give back what was trained must not go unnoticed.
    """
    again, _ = reopened(directory, None, how)
    dtypes = {name: p.dtype for name, p in backbone.model.named_parameters()}
    for name, p in again.model.named_parameters():  # not its buffers: they stay in fp32 (`RatingTrainer`)
        if p.is_floating_point():
            p.data = p.data.to(logits.device, dtypes.get(name, logits.dtype))
    place(again.model, logits.device)
    difference = float((logits - _logits(again, batch)).abs().max())
    if not difference <= 1e-5:
        raise CheckpointError(f"{directory} reloads with logits off by {difference:.2g}")
    return difference
