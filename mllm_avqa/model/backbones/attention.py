"""Attention by what the processor is fast at: plain products in bfloat16 on a CPU, torch's kernels elsewhere.

torch's fused kernel for CPUs walks rows in small blocks, in float32 whatever it is given; in bfloat16 two products and
a softmax take 60 % of its time forward and backward, in float32 they take longer (docs/benchmarks). Their scores are
kept whole, so long rows go to the fused kernel.
"""

from __future__ import annotations

from typing import Any

import torch

NAME = "avqa_by_processor"
MOST_BYTES = 256 << 20  # of the scores of one layer


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """query [B, H, T, D], key and value [B, H or fewer, S, D], mask bool [B, 1, T, S] -> [B, T, H, D].

    The interface is that of `transformers.AttentionInterface`; whatever the products are not for goes to its sdpa.
    """
    if not plain(module, query, key, attention_mask, dropout):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        out: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return out
    batch, heads, length, width = query.shape
    shared = key.shape[1]
    with torch.autocast("cpu", enabled=False):
        query, key, value = (x.to(torch.bfloat16) for x in (query, key, value))
        scaled = query * (width**-0.5 if scaling is None else scaling)
        scores = scaled.reshape(batch, shared, -1, width) @ key.transpose(
            2, 3
        )  # heads that share a key, in one product
        if attention_mask is not None:
            apart = scores.view(batch, shared, heads // shared, length, -1)
            apart.masked_fill_(~attention_mask[:, :, None], torch.finfo(scores.dtype).min)
        found = scores.softmax(-1) @ value
    return found.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


def plain(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, dropout: float
) -> bool:
    """Whether plain products will do, and are the faster way."""
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    if query.device.type != "cpu" or kind != torch.bfloat16 or dropout:
        return False
    if mask is None:
        masked = not getattr(module, "is_causal", True)
    else:
        masked = mask.dtype == torch.bool and mask.dim() == 4 and mask.shape[1] == 1
    scores = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2] * 2
    return masked and scores <= MOST_BYTES


def register() -> str:
    """Makes it known to transformers under the name it gives back (`attn_implementation`)."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
