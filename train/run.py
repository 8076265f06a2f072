"""Runs the stages of a config: cache, warm-up, then each stage from the one before; finished stages are kept."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import torch

from mllm_avqa import __version__
from mllm_avqa.backbones import load_backbone
from mllm_avqa.backbones.base import Backbone
from mllm_avqa.backbones.loading import base_from
from mllm_avqa.backbones.lora import lora_config
from mllm_avqa.card import Card
from mllm_avqa.errors import CheckpointError, ConfigError
from mllm_avqa.prompting import load_prompts
from mllm_avqa.records import Record, read_records
from mllm_avqa.scoring import level_token_ids
from train import cache, tiny
from train.config import Config, Stage
from train.corpus import corpus
from train.data import Clips, Collator
from train.held_out import score_held_out
from train.objective import Objective
from train.practice import FactClips, Practice
from train.teacher import Teacher
from train.trainer import RatingTrainer
from train.warmup import warm_up

log = logging.getLogger(__name__)
DONE = "stage.json"  # written last: its presence means the stage is finished


def run(config: Config, workers: int = 1) -> Path:
    """Train every stage. Returns the directory of the last one. Safe to call again after an interruption."""
    if config.threads:
        torch.set_num_threads(config.threads)
    config.output.mkdir(parents=True, exist_ok=True)
    records = list(read_records(config.records))
    train = [r for r in records if r.split == "train"]
    held_out = [r for r in records if r.split == "val"][: config.val_clips]
    if not train:
        raise ConfigError(f"{config.records} has no record with split 'train'")
    base = config.records.parent
    paths, errors = cache.build([*train, *held_out], base, base / "cache", config.views, workers=workers)
    if errors:
        log.warning("%d clips cannot be used, first: %s", len(errors), next(iter(errors.items())))
    clips, val = Clips(train, paths), Clips(held_out, paths)
    log.info("%d training clips, %d held-out clips", len(clips), len(val))

    current = config.init or _start(config, train)
    if config.warmup is not None and config.init is None:
        done = config.output / "warmup"
        if not (done / DONE).is_file():
            backbone, card = open_checkpoint(current)
            report = warm_up(backbone, clips, val, config)
            tiny.save(backbone.model, backbone.tokenizer, card, done)
            (done / DONE).write_text(json.dumps(report, indent=1))
        current = done
    teacher = Teacher(clips.records, clips.evidence(), config.seed) if config.teacher else None
    for stage in config.stages:
        directory = config.output / stage.name
        if not (directory / DONE).is_file():
            _train_stage(config, stage, current, directory, clips, val, teacher)
        current = directory
    return current


def open_checkpoint(directory: Path) -> tuple[Backbone, Card]:
    card = Card.load(directory)
    return load_backbone(directory, card, torch.float32), card


def _start(config: Config, train: list[Record]) -> Path:
    directory = config.output / "start"
    if not (directory / "avqa.yaml").is_file():
        model, tokenizer = tiny.build(corpus(train), config.build.size, config.seed)
        if config.build.see_bands:
            tiny.see_bands(model)
        card = Card(
            name=config.name,
            family="qwen2_5_omni",
            views=config.views,
            pixels=tiny.PIXELS if config.build.see_bands else None,
            prompts=str(load_prompts("rating", config.languages[0])["version"]),
            facts=config.facts,
            languages=list(config.languages),
            limits=config.limits,
            licence=config.licence,
        )
        tiny.save(model, tokenizer, card, directory)
    return directory


def _train_stage(
    config: Config, stage: Stage, start: Path, directory: Path, clips: Clips, val: Clips, teacher: Teacher | None
) -> None:
    from transformers import TrainingArguments

    backbone, card = open_checkpoint(start)
    _select_parameters(backbone, stage)
    # An adapter names the full weights it sits on, relative to itself, so that a run folder can be moved.
    if hasattr(backbone.model, "peft_config"):
        card.base_model = base_from(start, card, directory)
    else:
        card.base_model = card.revision = None
    card.training = card.training | {
        stage.name: {"steps": stage.steps, "batch": stage.batch * stage.accumulate, "lr": stage.lr, "tune": stage.tune}
    }
    objective = Objective(backbone, level_token_ids(backbone, card.aspects, card.level_words), stage.weights)
    args = TrainingArguments(
        output_dir=str(directory),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.lr,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(stage.warmup * stage.steps),
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=config.bf16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=min(20, max(1, stage.steps // 5)),
        save_steps=stage.save_every,
        save_total_limit=2,
        seed=config.seed,
        report_to=["tensorboard"] if os.environ.get("AVQA_TENSORBOARD") else [],
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    dataset = FactClips(clips) if stage.practice else clips
    draw = Practice(dataset, stage.mixture.stage1).draw if isinstance(dataset, FactClips) else None
    collator = Collator(backbone, stage.mixture, stage.dropout, card, config.seed, teacher, draw)
    trainer = RatingTrainer(model=objective, args=args, train_dataset=dataset, data_collator=collator, card=card)
    begin = time.time()
    trainer.train(resume_from_checkpoint=_last_checkpoint(directory))
    history = [h for h in trainer.state.log_history if "loss" in h]
    backbone.model.eval()
    report: dict[str, Any] = {
        "steps": stage.steps,
        "seconds": round(time.time() - begin, 1),
        "first_loss": history[0]["loss"] if history else None,
        "last_loss": history[-1]["loss"] if history else None,
        "held_out": score_held_out(backbone, card, val, config.languages[0]),
        "package": __version__,
        "torch": torch.__version__,
    }
    trainer.save_model(str(directory))
    report["reload_max_diff"] = reload_difference(backbone, directory, collator([clips[0]]))
    (directory / DONE).write_text(json.dumps(report, indent=1))
    log.info("%s: %s", stage.name, report)


def reload_difference(backbone: Backbone, directory: Path, batch: dict[str, Any]) -> float:
    """Largest |difference| of the logits of one batch between the trained model and its saved copy.

    Raises CheckpointError above 1e-5: a checkpoint that does not give back what was trained must not go unnoticed.
    """
    again, _ = open_checkpoint(directory)
    logits = []
    with torch.inference_mode():
        for b in (backbone, again):
            b.model.eval()
            logits.append(b.head()(b.hidden(batch["inputs"]).last_hidden_state))
    difference = float((logits[0] - logits[1]).abs().max())
    if not difference <= 1e-5:
        raise CheckpointError(f"{directory} reloads with logits off by {difference:.2g}")
    return difference


def _last_checkpoint(directory: Path) -> str | None:
    found = sorted(directory.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    complete = [p for p in found if (p / "trainer_state.json").is_file()]
    return str(complete[-1]) if complete else None


def _select_parameters(backbone: Backbone, stage: Stage) -> None:
    """LoRA or full training; towers frozen on request; parameters that never get a gradient always frozen."""
    if stage.tune == "lora" and not hasattr(backbone.model, "peft_config"):
        from peft import get_peft_model

        options = stage.lora
        lora = lora_config(backbone, options.r, options.alpha, options.dropout, options.experts)
        backbone.model = get_peft_model(backbone.model, lora)
        if not any("lora_" in n for n, _ in backbone.model.named_parameters()):
            raise ConfigError("LoRA matched no module of this backbone: its `lora_targets` are out of date")
    elif stage.tune == "full" and hasattr(backbone.model, "peft_config"):
        backbone.model = backbone.model.merge_and_unload()
    adapting = hasattr(backbone.model, "peft_config")
    for name, p in backbone.model.named_parameters():
        if adapting:
            p.requires_grad_("lora_" in name or "modules_to_save" in name)
        else:
            p.requires_grad_(not (stage.freeze_towers and any(t in name for t in backbone.towers)))
        if any(f in name for f in backbone.frozen):
            p.requires_grad_(False)
