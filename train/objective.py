"""The module that is trained: backbone in, loss out. DDP and DeepSpeed wrap this, so every gradient passes here."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mllm_avqa.backbones.base import Backbone
from mllm_avqa.scoring import level_logits
from train.config import Weights
from train.losses import answer_ce, fidelity, level_kl, moments


class Objective(nn.Module):
    """forward(**batch of train.data.Collator) -> {"loss", and its parts detached}."""

    def __init__(self, backbone: Backbone, level_ids: list[int], weights: Weights) -> None:
        super().__init__()
        self.backbone = backbone
        self.net = backbone.model
        self.level_ids = level_ids
        self.weights = weights

    def forward(self, inputs: dict[str, Any], **t: torch.Tensor) -> dict[str, torch.Tensor]:
        w = self.weights
        hidden = self.backbone.hidden(inputs).last_hidden_state
        head = self.backbone.head()
        at = t["answer_at"]
        parts = {"answer": answer_ce(head(hidden[at[:, 0], at[:, 1]]), t["answer_ids"])}
        at = t["level_at"]
        if len(at):
            log_probs, log_mass = level_logits(hidden[at[:, 0], at[:, 1]], head, self.level_ids)
            score, variance = moments(log_probs)
            parts["kl"] = level_kl(log_probs, t["level_target"]).mean()
            parts["mass"] = -log_mass.mean()
            parts["rank"] = fidelity(score, variance, t["level_mean"], t["level_std"], t["level_group"])
        loss = sum((getattr(w, k) * v for k, v in parts.items()), hidden.sum() * 0.0)
        return {"loss": loss, **{k: v.detach() for k, v in parts.items()}}
