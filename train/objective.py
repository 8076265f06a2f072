"""The module that is trained: backbone in, loss out. DDP and DeepSpeed wrap this, so every gradient passes here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.scoring import level_logits
from train.config import Weights
from train.losses import answer_ce, level_kl, moments, shared_fidelity
from train.towers import Lookup, TowerCache

LOSSES = ("answer", "kl", "mass", "rank")  # parts of the loss, by their weights


class Objective(nn.Module):
    """forward(**batch of train.data.Collator) -> {"loss", its parts, "log_probs" [levels asked for, 5]}.

    Without targets (evaluation) the log-probabilities of the levels are all there is. Every forward runs the same
    modules equally often, whatever is asked: ranks of ZeRO-3 wait for one another at each.
    """

    def __init__(
        self, backbone: Backbone, level_ids: list[int], weights: Weights, towers: TowerCache | None = None
    ) -> None:
        super().__init__()
        self.towers = towers
        self.backbone = backbone
        self.net = backbone.model
        self.level_ids = level_ids
        self.weights = weights

    def forward(
        self, inputs: dict[str, Any], recall: dict[str, Lookup] | None = None, **t: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        w = self.weights
        with self.towers.around(recall) if self.towers is not None and recall else nullcontext():
            hidden = self.backbone.hidden(inputs).last_hidden_state
        at = torch.cat([t["answer_at"], t["level_at"]])
        answers = len(t["answer_at"])
        logits = self.backbone.head()(hidden[at[:, 0], at[:, 1]])
        log_probs, log_mass = level_logits(logits[answers:], nn.Identity(), self.level_ids)
        if "level_target" not in t:
            return {"log_probs": log_probs}
        parts = {"answer": answer_ce(logits[:answers], t["answer_ids"], t.get("answer_weight"))}
        # Pairs are made of the clips of all ranks, so every rank takes part, whether it has levels or not
        rank = shared_fidelity(*moments(log_probs), t["level_mean"], t["level_std"], t["level_group"])
        if len(log_probs):
            kl = level_kl(log_probs, t["level_target"]).mean()
            parts |= {"kl": kl, "mass": -log_mass.mean(), "rank": rank}
        loss = sum((getattr(w, k) * v for k, v in parts.items()), hidden.sum() * 0.0)
        return {"loss": loss, **{k: v.detach() for k, v in parts.items()}, "log_probs": log_probs.detach()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Strict about what is trained; frozen weights may be missing, for checkpoints of an adapter leave them out."""
        found = super().load_state_dict(state_dict, strict=False, assign=assign)
        trained = {n for n, p in self.named_parameters() if p.requires_grad}
        lost = [*sorted(trained.intersection(found.missing_keys)), *found.unexpected_keys]
        if strict and lost:
            raise RuntimeError(f"{len(lost)} weights do not fit the model, first: {lost[0]}")
        return found
