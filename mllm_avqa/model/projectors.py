"""Whether a language model can read its towers: is what differs between clips large beside what is always there?

A projector may hand over tokens that are one huge constant, in which nothing can be read, and every score still looks
sensible, for facts carry it. So the outputs of a few very different clips are compared with one another and with the
spread of the word embeddings beside which they stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mllm_avqa.model.backbones.qwen2_5_omni import Qwen25Omni
from mllm_avqa.model.views import Views

CLIPS = 6
LEAST, MOST = 0.3, 5.0  # spread between clips; constant: both in spreads of the words


@dataclass(frozen=True)
class ProjectorReading:
    """Of one projector, in spreads of the word embeddings."""

    constant: float  # mean over channels of what all tokens have in common
    tokens: float  # spread from token to token
    clips: float  # spread of the clips' mean tokens

    @property
    def legible(self) -> bool:
        return self.clips >= LEAST and self.constant <= MOST * max(1.0, self.tokens)

    def __str__(self) -> str:
        return f"constant {self.constant:.2f}, tokens {self.tokens:.2f}, clips {self.clips:.2f} x words"


def readings(backbone: Qwen25Omni) -> dict[str, ProjectorReading]:
    """By part, "vision" and "audio", on pictures and sounds that are made here: bright and dark, soft and noisy."""
    words = float(backbone.model.get_input_embeddings().weight.float().std())
    found: dict[str, list[torch.Tensor]] = {}
    for number in range(CLIPS):
        for part, tokens in backbone.media_tokens(backbone.media_tensors(_views(number))).items():
            found.setdefault(part, []).append(tokens.float() / words)
    out = {}
    for part, clips in found.items():
        every = torch.cat(clips)
        means = torch.stack([c.mean(0) for c in clips])
        out[part] = ProjectorReading(
            float(every.mean(0).abs().mean()), float(every.std(0).mean()), float(means.std(0).mean())
        )
    return out


def _views(number: int) -> Views:
    rng = np.random.default_rng(number)
    base = np.linspace(40, 215, 168)[None, :, None] * (0.4 + 0.12 * number) + np.zeros((168, 1, 3))
    frames = np.stack([base + rng.normal(0, 5.0 * number, base.shape) for _ in range(8)])
    pixels = np.clip(frames, 0, 255).astype(np.uint8)
    time = np.arange(32000) / 16000
    sound = np.sin(2 * np.pi * 150 * 2 ** (number / 2) * time) * 0.2 + rng.normal(0, 0.02 * number, time.shape)
    return Views(whole=pixels[:, :84, :140], fragments=pixels, sound=sound.astype(np.float32))
