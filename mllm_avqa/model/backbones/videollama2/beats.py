"""BEATs sound encoder (arXiv 2212.09058): patches of a mel spectrogram through a post-norm transformer.

Its attention adds a bias by distance in patches (320 buckets, one table for all layers) that a gate on the query
scales (WavLM, arXiv 2110.13900, 3.1); residuals are lifted as in DeepNorm (arXiv 2203.00555).
Parameter names are those of the published weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

MEAN, SPREAD = 15.41663, 2 * 6.55582  # of log-mel features over AudioSet, from the published model
NORM_EPS = 1e-6  # under the root of the convolution's weight norm
GATES = 8  # two gates, each the sum of four projections


class PositionConv(nn.Module):
    """Convolution over time whose output is added as position. Weight-normalised per kernel place."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.kernel, self.groups = kernel, groups
        self.gain = nn.Parameter(torch.ones(1, 1, kernel))
        self.direction = nn.Parameter(torch.randn(width, width // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D]"""
        v = self.direction.float()
        weight = self.gain * (v * torch.rsqrt(v.square().sum((0, 1), keepdim=True) + NORM_EPS)).to(self.gain.dtype)
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return F.gelu(y[..., : x.shape[1]]).transpose(1, 2)  # an even kernel gives one too many


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, buckets: int | None) -> None:
        """buckets: size of the bias table, in the layer that keeps it for all."""
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.grep_linear = nn.Linear(width // heads, GATES)
        self.grep_a = nn.Parameter(torch.ones(1, heads, 1, 1))
        if buckets is not None:
            self.relative_attention_bias = nn.Embedding(buckets, heads)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, pad: torch.Tensor | None) -> torch.Tensor:
        """x [B, N, D]; bias [H, N, N]; pad bool [B, N], True where nothing was heard."""
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        a, b = self.grep_linear(q).unflatten(-1, (2, -1)).sum(-1).sigmoid().chunk(2, -1)  # each [B, H, N, 1]
        bias = (a * (b * self.grep_a - 1) + 2) * bias
        if pad is not None:
            bias = bias.masked_fill(pad[:, None, None], -math.inf)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        out: torch.Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    def __init__(self, config: Any, buckets: int | None) -> None:
        super().__init__()
        width = config.hidden_size
        self.self_attn = Attention(width, config.num_attention_heads, buckets)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.lift = (2 * config.num_hidden_layers) ** 0.25

    def forward(self, x: torch.Tensor, bias: torch.Tensor, pad: torch.Tensor | None) -> torch.Tensor:
        x = self.self_attn_layer_norm(x * self.lift + self.self_attn(x, bias, pad))
        out: torch.Tensor = self.final_layer_norm(x * self.lift + self.fc2(F.gelu(self.fc1(x))))
        return out


class BeatsEncoder(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.max_distance = config.max_distance
        self.pos_conv = PositionConv(config.hidden_size, config.conv_kernel, config.conv_groups)
        self.layer_norm = nn.LayerNorm(config.hidden_size)
        self.layers = nn.ModuleList(
            Layer(config, config.num_buckets if i == 0 else None) for i in range(config.num_hidden_layers)
        )

    def forward(self, x: torch.Tensor, pad: torch.Tensor | None) -> torch.Tensor:
        if pad is not None:
            x = x.masked_fill(pad[..., None], 0)  # the convolution must not hear padding either
        x = self.layer_norm(x + self.pos_conv(x))
        first: Any = self.layers[0]
        table = first.self_attn.relative_attention_bias
        bias = table(buckets(x.shape[1], table.num_embeddings, self.max_distance, x.device)).permute(2, 0, 1)
        for layer in self.layers:
            x = layer(x, bias, pad)
        return x


class Beats(nn.Module):
    """Log-mel features -> one vector per patch of 16 frames x 16 bands."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv2d(1, config.embed_dim, config.patch_size, config.patch_size, bias=False)
        self.layer_norm = nn.LayerNorm(config.embed_dim)
        self.post_extract_proj = nn.Linear(config.embed_dim, config.hidden_size)
        self.encoder = BeatsEncoder(config)

    def forward(self, features: torch.Tensor, frames: torch.Tensor) -> list[torch.Tensor]:
        """features [B, frames, bands] as `fbank.log_mel` makes them, right-padded; frames [B], how many are real.

        Returns one [frames // 16 * (bands // 16), D] per sound, time slower than frequency. A sound gives the same
        in any batch.
        """
        x = (features - MEAN) / SPREAD
        x = self.patch_embedding(x[:, None].to(self.patch_embedding.weight.dtype))
        bands = x.shape[-1]
        x = self.post_extract_proj(self.layer_norm(x.flatten(2).transpose(1, 2)))
        counts = frames // self.config.patch_size * bands
        pad = torch.arange(x.shape[1], device=x.device) >= counts[:, None]
        x = self.encoder(x, pad if bool(pad.any()) else None)
        return [y[:n] for y, n in zip(x, counts.tolist(), strict=True)]


def buckets(length: int, count: int, max_distance: int, device: torch.device) -> torch.Tensor:
    """Bucket of each (query, key) by their distance, int64 [length, length].

    Half of the buckets are for keys ahead. In each half the first half counts single steps, the rest grow
    logarithmically up to `max_distance`; what is farther shares the last (T5, arXiv 1910.10683).
    """
    place = torch.arange(length, device=device)
    ahead = place[None] - place[:, None]
    half = count // 2
    exact = half // 2
    far = ahead.abs().clamp(min=exact).float()
    grown = exact + (torch.log(far / exact) / math.log(max_distance / exact) * (half - exact)).long()
    return (ahead > 0) * half + torch.where(ahead.abs() < exact, ahead.abs(), grown.clamp(max=half - 1))
