"""Tower warm-up: the towers learn to see faults before the language model has to read them.

Pooled tower outputs predict fault kinds (multi-label), their level, and the modality's score distribution; no language
model runs, so a clip costs a fraction of a full step. The heads are thrown away afterwards.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.rows import stack_media
from mllm_avqa.schema.records import Record
from train.config import Config
from train.data import Clips
from train.losses import level_kl, moments, target

log = logging.getLogger(__name__)
MODALITIES = ("video", "audio")


class Heads(nn.Module):
    """Mean and spread of a tower's tokens -> kinds [n] with their level, score levels [5]."""

    def __init__(self, width: int, kinds: int) -> None:
        super().__init__()
        # Fresh towers give nearly the same output for every clip: only a norm across clips shows what differs.
        self.norm = nn.BatchNorm1d(2 * width)
        self.body = nn.Sequential(nn.Linear(2 * width, 256), nn.GELU())
        self.kinds = nn.Linear(256, kinds)
        self.levels = nn.Linear(256, 5)

    def forward(self, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = torch.stack([torch.cat([t.mean(0), t.std(0, correction=0)]) for t in tokens])
        h = self.body(self.norm(pooled.float()))
        return self.kinds(h), self.levels(h)


def warm_up(backbone: Backbone, clips: Clips, val: Clips, config: Config) -> dict[str, Any]:
    """Train both towers in place; returns held-out SRCC of the two heads."""
    assert config.warmup is not None
    w = config.warmup
    torch.manual_seed(config.seed)
    rng = random.Random(config.seed)
    kinds = {m: sorted({d.kind for r in clips.records for d in r.distortions if d.modality == m}) for m in MODALITIES}
    width = backbone.model.config.text_config.hidden_size
    heads = nn.ModuleDict({m: Heads(width, max(1, len(kinds[m]))) for m in MODALITIES})
    net = backbone.model.model
    towers = [p for n, p in backbone.model.named_parameters() if any(t in n for t in backbone.towers)]
    optimizer = torch.optim.AdamW(
        [*(p for p in towers if p.requires_grad), *heads.parameters()], lr=w.lr, weight_decay=0.01, fused=True
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, max(1, w.steps // 20), w.steps)

    def predict(m: str, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        if heads.training and len(tokens) < 2:  # nothing to normalise across: no gradient from this modality
            return torch.zeros(len(tokens), max(1, len(kinds[m]))), torch.zeros(len(tokens), 5)
        kind, level = heads[m](tokens)
        return kind, level

    def outputs(items: list[dict[str, Any]]) -> dict[str, tuple[list[int], torch.Tensor, torch.Tensor]]:
        media = [backbone.media_tensors(i["window"].views) for i in items]
        batch = stack_media(media)
        result = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            if "pixel_values_videos" in batch:
                who = [k for k, m in enumerate(media) if "pixel_values_videos" in m]
                grids = batch["video_grid_thw"]
                out = net.visual(batch["pixel_values_videos"], grid_thw=grids).pooler_output
                sizes = (grids.prod(-1) // net.visual.spatial_merge_size**2).view(-1, 2).sum(-1).tolist()
                result["video"] = (who, *predict("video", list(torch.split(out, sizes))))
            if "input_features" in batch:
                who = [k for k, m in enumerate(media) if "input_features" in m]
                mask = batch["feature_attention_mask"]
                out = net.get_audio_features(batch["input_features"], mask).last_hidden_state
                sizes = [backbone.sound_tokens(int(n)) for n in mask.sum(-1)]
                result["audio"] = (who, *predict("audio", list(torch.split(out, sizes))))
        return result

    order: list[int] = []
    running = 0.0
    for step in range(w.steps):
        if len(order) < w.batch:
            order = list(range(len(clips)))
            rng.shuffle(order)
        items = [clips[order.pop()] for _ in range(min(w.batch, len(order)))]
        loss = torch.zeros(())
        for m, (who, kind_logits, level_logits) in outputs(items).items():
            records: list[Record] = [items[k]["record"] for k in who]
            truth = torch.zeros(len(who), max(1, len(kinds[m])))
            for k, r in enumerate(records):
                for d in r.distortions:
                    if d.modality == m and d.kind in kinds[m]:
                        truth[k, kinds[m].index(d.kind)] = d.level / 5
            loss = loss + 4 * F.binary_cross_entropy_with_logits(kind_logits.float(), truth)
            labelled = [k for k, r in enumerate(records) if m in r.labels]
            if labelled:
                goal = torch.tensor([target(records[k].labels[m]).probs for k in labelled])
                loss = loss + level_kl(torch.log_softmax(level_logits.float()[labelled], -1), goal).mean()
        if not loss.requires_grad:
            continue
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(towers, 1.0)
        optimizer.step()
        schedule.step()
        running += float(loss.detach())
        if (step + 1) % 50 == 0:
            log.info("warm-up step %d loss %.4f", step + 1, running / 50)
            running = 0.0
    heads.eval()
    return {"held_out": _evaluate(outputs, val)}


@torch.no_grad()
def _evaluate(outputs: Any, val: Clips) -> dict[str, float]:
    from scipy.stats import spearmanr

    guess: dict[str, list[float]] = {m: [] for m in MODALITIES}
    truth: dict[str, list[float]] = {m: [] for m in MODALITIES}
    for i in range(0, len(val), 16):
        items = [val[k] for k in range(i, min(i + 16, len(val)))]
        for m, (who, _, levels) in outputs(items).items():
            score, _ = moments(torch.log_softmax(levels.float(), -1))
            for k, s in zip(who, score.tolist(), strict=True):
                if m in items[k]["record"].labels:
                    guess[m].append(s)
                    truth[m].append(target(items[k]["record"].labels[m]).mean)
    result = {m: round(float(spearmanr(guess[m], truth[m]).statistic), 4) for m in MODALITIES if len(set(truth[m])) > 1}
    log.info("warm-up held-out SRCC %s", result)
    return result
