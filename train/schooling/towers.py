"""A fresh tower of the stock class, its run on a batch of lessons, and the norm that its projector ends with."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.energies import with_energies
from mllm_avqa.schema.card import Card, ViewSpec

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel

SPEC = ViewSpec()
SPREAD = 1.5  # of projector outputs, in spreads of the word embeddings beside which they stand


def fresh(backbone: Backbone, modality: str, energies: bool) -> nn.Module:
    """Puts a tower with new weights into the backbone: 1/sqrt(fan-in), and returns it."""
    core: Any = backbone.model
    if modality == "video":
        config = copy.deepcopy(core.config.vision_config)
        config.in_channels = 4 if energies else 3
        core.config.vision_config.in_channels = core.model.visual.config.in_channels = config.in_channels
        tower = type(core.model.visual)(config)
        core.model.visual = tower
    else:
        tower = type(core.model.audio_tower)(core.config.audio_config)
        core.model.audio_tower = tower
    tower.to(core.device, torch.float32)
    with torch.no_grad():
        for name, p in tower.named_parameters():
            if p.dim() >= 2 and "bos_eos" not in name:
                nn.init.normal_(p, std=1 / math.sqrt(p[0].numel()))
            elif name.endswith("bias"):
                p.zero_()
    return tower


def adapted(backbone: Backbone, modality: str, rank: int, free: bool = True) -> tuple[nn.Module, LoraModel]:
    """Puts LoRA (alpha: twice the rank) on the linear layers of the tower that is there.

    free: its projector is trained, in full. Returns the tower and what merges the adapter into it.
    """
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    core: Any = backbone.model.model
    tower: nn.Module = (core.visual if modality == "video" else core.audio_tower).float()
    projector = projector_of(modality)
    named = [n for n, m in tower.named_modules() if isinstance(m, nn.Linear) and not f"{n}.".startswith(projector)]
    adapter = LoraModel(tower, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=named), "school")
    for name, p in tower.named_parameters():
        p.requires_grad_("lora_" in name or (free and name.startswith(projector)))
    return tower, adapter


def projector_of(modality: str) -> str:
    """Where the names of a tower's projector begin, inside the tower."""
    return "merger." if modality == "video" else "proj."


def low_rank(adapter: LoraModel) -> dict[str, torch.Tensor]:
    """What the adapter adds, as factors: "NAME.down" [rank, in] and "NAME.up" [out, rank], up with the scale in it."""
    from peft.tuners.lora import LoraLayer

    found: dict[str, torch.Tensor] = {}
    for name, m in adapter.model.named_modules():
        if isinstance(m, LoraLayer):
            down: Any = m.lora_A["school"]
            up: Any = m.lora_B["school"]
            found[f"{name}.down"] = down.weight.detach().clone()
            found[f"{name}.up"] = up.weight.detach() * m.scaling["school"]
    return found


def outputs(backbone: Backbone, modality: str, shown: list[np.ndarray], card: Card) -> torch.Tensor:
    """Projector outputs [lessons, tokens, width] of patches (`patches`) or sounds of one length."""
    net = backbone.model.model
    if modality == "video":
        pixels = _normalised(np.concatenate(shown), backbone)
        if card.pixels is not None and card.pixels.energies:
            pixels = with_energies(pixels, card.pixels, net.visual.patch_size)
        pixels = pixels.to(backbone.model.device)
        pairs = SPEC.segments * SPEC.frames_per_segment // 2
        rows, columns = (n * net.visual.spatial_merge_size for n in SPEC.fragment_grid)
        found = net.visual(
            pixels, grid_thw=torch.tensor([[pairs, rows, columns]] * len(shown), device=pixels.device)
        ).pooler_output
    else:
        sound = [s.astype(np.float32) / 32767 for s in shown]
        with torch.autocast(backbone.model.device.type, enabled=False):
            mel = backbone.feature_extractor(  # type: ignore[attr-defined]
                sound, sampling_rate=16000, padding=False, truncation=False, return_tensors="pt"
            )["input_features"].float()
        mel = mel.to(backbone.model.device)
        mask = torch.ones(mel.shape[0], mel.shape[-1], dtype=torch.long, device=mel.device)
        found = net.get_audio_features(mel, mask).last_hidden_state
    return found.view(len(shown), -1, found.shape[-1])


def _normalised(raw: np.ndarray, backbone: Backbone) -> torch.Tensor:
    """Patches uint8 [n, 3 * pixels] as the family's video processor hands them over."""
    processor: Any = backbone.video_processor  # type: ignore[attr-defined]
    mean, std = (torch.tensor(v).view(1, 3, 1) for v in (processor.image_mean, processor.image_std))
    colours = torch.from_numpy(raw).float().view(len(raw), 3, -1) / 255
    return ((colours - mean) / std).flatten(1)


def patches(view: np.ndarray, side: int = 14, merge: int = 2) -> np.ndarray:
    """A view uint8 [n, h, w, 3] in the order of the video processor: uint8 [patches, 3 * 2 * side^2]."""
    n, h, w, _ = view.shape
    step = side * merge
    cells = view.reshape(n // 2, 2, h // step, merge, side, w // step, merge, side, 3)
    ordered = cells.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)  # pair, row, column, row and column inside, colour, frame
    return np.ascontiguousarray(ordered.reshape(-1, 3 * 2 * side * side))


class Flat(nn.Module):
    """The patch embedding as one matrix product, three times as fast as the convolution that it is."""

    def __init__(self, proj: nn.Module) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        weight: Any = self.proj.weight
        return nn.functional.linear(pixels, weight.flatten(1))


@torch.no_grad()
def settle(backbone: Backbone, modality: str, found: torch.Tensor) -> dict[str, float]:
    """Folds a norm into the projector's last layer: outputs [n, width] get mean 0 and SPREAD times the spread of words.

    Without it a constant hundreds of times larger than what differs between clips may stand in every token.
    """
    core: Any = backbone.model
    last = core.model.visual.merger.mlp[-1] if modality == "video" else core.model.audio_tower.proj
    words = float(core.get_input_embeddings().weight.float().std())
    mean, spread = found.float().mean(0), found.float().std(0) + 1e-6
    gain = SPREAD * words / spread
    last.bias.copy_((last.bias - mean) * gain)
    last.weight.mul_(gain[:, None])
    return {"mean_before": float(mean.abs().mean()), "spread_before": float(spread.mean()), "words": words}
