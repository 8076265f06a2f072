"""What is asked of a tower's tokens at school. Thrown away afterwards."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

LOWEST = 5  # the lowest fifth of the tokens


class LessonHeads(nn.Module):
    """Every token tells statistics, distances and doses; all of them together tell the doses and the score.

    Fresh towers give nearly the same output for everything: only a norm across items shows what differs.
    """

    def __init__(self, width: int, statistics: int, distances: int, faults: int) -> None:
        super().__init__()
        self.sizes = (statistics, distances, faults)
        self.token_norm = nn.BatchNorm1d(width)
        self.token = nn.Linear(width, sum(self.sizes))
        self.clip_norm = nn.BatchNorm1d(3 * width)
        self.clip = nn.Sequential(nn.Linear(3 * width, 256), nn.GELU(), nn.Linear(256, faults + 1))

    def forward(self, found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """[lessons, tokens, width] -> per token [.., n + m] and doses [.., faults]; of all doses and score."""
        flat = self.token_norm(found.flatten(0, 1).float())
        token = self.token(flat).view(*found.shape[:2], -1)
        lowest = found.float().sort(1).values[:, : max(1, found.shape[1] // LOWEST)].mean(1)
        pooled = torch.cat([found.float().mean(1), found.float().std(1), lowest], 1)
        clip = self.clip(self.clip_norm(pooled))
        told = self.sizes[0] + self.sizes[1]
        return token[..., :told], token[..., told:], clip[:, :-1], clip[:, -1]


def loss(
    heads: LessonHeads, found: torch.Tensor, dense: torch.Tensor, dose: torch.Tensor, score: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    """dense [lessons, tokens, n + m], z-scored; dose [lessons, faults]; score [lessons] 1..5."""
    token, token_dose, clip_dose, clip_score = heads(found)
    per_token = dose[:, None].expand_as(token_dose)
    parts = {
        "dense": F.mse_loss(token, dense),
        "token_dose": F.binary_cross_entropy_with_logits(token_dose, per_token),
        "clip_dose": F.binary_cross_entropy_with_logits(clip_dose, dose),
        "score": F.mse_loss(clip_score, score - 3),
    }
    total = 2 * parts["dense"] + 4 * parts["token_dose"] + 4 * parts["clip_dose"] + 0.3 * parts["score"]
    return total, {k: float(v.detach()) for k, v in parts.items()}
