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
from train.held_out import correlations
from train.losses import level_kl, moments, target

log = logging.getLogger(__name__)
INPUTS = {"video": "pixel_values_videos", "audio": "input_features"}  # what a clip with that modality has


class Heads(nn.Module):
    """Mean and spread of a tower's tokens -> kinds [n] with their level, score levels [5]."""

    def __init__(self, width: int, kinds: int) -> None:
        super().__init__()
        # Fresh towers give nearly the same output for every clip: only a norm across clips shows what differs.
        self.norm = nn.BatchNorm1d(2 * width)
        self.body = nn.Sequential(nn.Linear(2 * width, 256), nn.GELU())
        self.kinds = nn.Linear(256, kinds)
        self.levels = nn.Linear(256, 5)

    def forward(self, tokens: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        if self.training and len(tokens) < 2:  # nothing to normalise across: no gradient from this modality
            return torch.zeros(len(tokens), self.kinds.out_features), torch.zeros(len(tokens), 5)
        pooled = torch.stack([torch.cat([t.mean(0), t.std(0, correction=0)]) for t in tokens])
        h = self.body(self.norm(pooled.float()))
        return self.kinds(h), self.levels(h)


class Towers(nn.Module):
    """Both towers with a head on each. `forward` of items: by modality, which of them have it, kinds and levels."""

    def __init__(self, backbone: Backbone, records: list[Record], bf16: bool) -> None:
        super().__init__()
        self.backbone, self.bf16 = backbone, bf16
        faults = {m: {d.kind for r in records for d in r.distortions if d.modality == m} for m in INPUTS}
        self.kinds = {m: sorted(found) for m, found in faults.items()}
        width = backbone.model.config.text_config.hidden_size
        self.heads = nn.ModuleDict({m: Heads(width, max(1, len(self.kinds[m]))) for m in INPUTS})

    def forward(self, items: list[dict[str, Any]]) -> dict[str, tuple[list[int], torch.Tensor, torch.Tensor]]:
        media = [self.backbone.media_tensors(i["window"].views) for i in items]
        batch = stack_media(media)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return {
                m: ([k for k, has in enumerate(media) if name in has], *self.heads[m](self._tokens(m, batch)))
                for m, name in INPUTS.items()
                if name in batch
            }

    def _tokens(self, modality: str, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The tower's tokens [n, width] of every clip that has the modality."""
        net = self.backbone.model.model
        if modality == "video":
            grids = batch["video_grid_thw"]
            out = net.visual(batch["pixel_values_videos"], grid_thw=grids).pooler_output
            sizes = (grids.prod(-1) // net.visual.spatial_merge_size**2).view(-1, 2).sum(-1).tolist()
        else:
            mask = batch["feature_attention_mask"]
            out = net.get_audio_features(batch["input_features"], mask).last_hidden_state
            sizes = [self.backbone.sound_tokens(int(n)) for n in mask.sum(-1)]
        return torch.split(out, sizes)

    def loss(self, items: list[dict[str, Any]]) -> torch.Tensor:
        total = torch.zeros(())
        for m, (who, kinds, levels) in self(items).items():
            records: list[Record] = [items[k]["record"] for k in who]
            truth = torch.zeros_like(kinds, dtype=torch.float32)
            for row, r in zip(truth, records, strict=True):
                for d in r.distortions:
                    if d.modality == m and d.kind in self.kinds[m]:
                        row[self.kinds[m].index(d.kind)] = d.level / 5
            total = total + 4 * F.binary_cross_entropy_with_logits(kinds.float(), truth)
            labelled = [k for k, r in enumerate(records) if m in r.labels]
            if labelled:
                goal = torch.tensor([target(records[k].labels[m]).probs for k in labelled])
                total = total + level_kl(torch.log_softmax(levels.float()[labelled], -1), goal).mean()
        return total

    @torch.no_grad()
    def srcc(self, clips: Clips) -> dict[str, float]:
        """Of predicted and labelled scores, by modality."""
        self.heads.eval()
        found: list[tuple[str, float, float]] = []
        for i in range(0, len(clips), 16):
            items = [clips[k] for k in range(i, min(i + 16, len(clips)))]
            for m, (who, _, levels) in self(items).items():
                scores, _ = moments(torch.log_softmax(levels.float(), -1))
                labels = [items[k]["record"].labels.get(m) for k in who]
                found += [(m, s, target(x).mean) for s, x in zip(scores.tolist(), labels, strict=True) if x is not None]
        return {m: row["srcc"] for m, row in correlations(found, list(INPUTS)).items()}


def warm_up(backbone: Backbone, clips: Clips, val: Clips, config: Config) -> dict[str, Any]:
    """Train both towers in place; returns held-out SRCC of the two heads."""
    assert config.warmup is not None
    w = config.warmup
    torch.manual_seed(config.seed)
    rng = random.Random(config.seed)
    net = Towers(backbone, clips.records, config.bf16)
    towers = [p for n, p in backbone.model.named_parameters() if any(t in n for t in backbone.towers)]
    trained = [*(p for p in towers if p.requires_grad), *net.heads.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=w.lr, weight_decay=0.01, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, max(1, w.steps // 20), w.steps)
    order: list[int] = []
    running = 0.0
    for step in range(w.steps):
        if len(order) < w.batch:
            order = rng.sample(range(len(clips)), len(clips))
        loss = net.loss([clips[order.pop()] for _ in range(min(w.batch, len(order)))])
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
    report = {"held_out": net.srcc(val)}
    log.info("warm-up: %s", report)
    return report
