"""Targets and losses of level rows: soft level targets, level mass, and rank fidelity.

L = CE(answer text, level positions excluded) + kl * KL(q || p_closed) + mass * (-log mass) + rank * L_fidelity
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from mllm_avqa.schema.levels import VALUES
from mllm_avqa.schema.records import Label
from train import ranks


@dataclass
class Target:
    """Label of one aspect on 1-5, higher better."""

    mean: float
    std: float
    probs: list[float]  # order of levels.WORDS


def target(label: Label) -> Target:
    """A record's label as mean, std and soft level target. Votes, where given, are used as they are."""
    return Target(label.score, label.std_five, label.levels().tolist())


FLOOR = 1e-8  # floor of each root's argument: keeps the gradient of sqrt finite at 0


def level_kl(log_probs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """KL(q || p) per row. log_probs [N, 5] fp32 closed-set, target [N, 5]. Zero targets contribute zero, not NaN."""
    return (torch.xlogy(target, target) - target * log_probs).sum(-1)


def moments(log_probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Score and variance [N] of closed-set log-probabilities [N, 5]."""
    values = torch.as_tensor(VALUES, dtype=log_probs.dtype, device=log_probs.device)
    p = log_probs.exp()
    mean = (p * values).sum(-1)
    return mean, (p * (values - mean[:, None]) ** 2).sum(-1)


def fidelity(
    score: torch.Tensor,
    variance: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
    group: torch.Tensor,
) -> torch.Tensor:
    """Mean fidelity loss over the unordered pairs of one group (same dataset and aspect), 0 without a pair.

    score, variance: predictions [N] (the variance is detached); mean, std: labels [N]; group: int [N].
    P = Phi((mu_i - mu_j) / sqrt(sd_i^2 + sd_j^2)), P^ the same of the predictions,
    L = 1 - sqrt(P P^) - sqrt((1 - P)(1 - P^)). Source: Tsai et al. 2007; UNIQUE, arXiv 2005.13983.
    """
    i, j = torch.triu_indices(len(score), len(score), 1, device=score.device)
    keep = group[i] == group[j]
    i, j = i[keep], j[keep]
    if not len(i):
        return score.sum() * 0.0
    truth = _phi((mean[i] - mean[j]) / (std[i] ** 2 + std[j] ** 2).clamp_min(1e-4).sqrt())
    v = variance.detach()
    guess = _phi((score[i] - score[j]) / (v[i] + v[j]).clamp_min(1e-4).sqrt())
    loss = 1 - (truth * guess).clamp_min(FLOOR).sqrt() - ((1 - truth) * (1 - guess)).clamp_min(FLOOR).sqrt()
    return loss.mean()


def shared_fidelity(
    score: torch.Tensor,
    variance: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
    group: torch.Tensor,
) -> torch.Tensor:
    """`fidelity` over the pairs of all ranks, the same value on each; alone, `fidelity` itself.

    All ranks must call it, with or without rows. The gradient is weighted for ranks whose gradients are averaged.
    """
    columns = [x.double() for x in (score, variance, mean, std, group)]  # a group is below 2^36: exact
    rows, weight = ranks.all_rows(torch.stack(columns, -1))
    s, v, m, d, g = rows.unbind(-1)
    loss = fidelity(s, v, m, d, g).to(score.dtype)
    return loss + (weight - 1) * (loss - loss.detach())


def answer_ce(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross entropy of answer tokens. logits [N, V], target [N]; 0 for no token.

    weight [N]: what a token counts for, below 0 for what is to be said less often: with a reward's advantages this is
    the policy gradient of answers that were written by the very weights that learn them.
    """
    if not len(target):
        return logits.sum() * 0.0
    if weight is None:
        return F.cross_entropy(logits.float(), target)
    return (F.cross_entropy(logits.float(), target, reduction="none") * weight).mean()


def _phi(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * (1.0 + torch.erf(x / 2**0.5))
