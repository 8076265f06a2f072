"""The network: frames and sound become tokens of a Qwen2, the rest is a row like any other."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel, Qwen2Model, SiglipVisionModel
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from mllm_avqa.model.backbones.videollama2.beats import Beats
from mllm_avqa.model.backbones.videollama2.config import VideoLlama2Config
from mllm_avqa.model.backbones.videollama2.connector import STCConnector
from mllm_avqa.model.backbones.videollama2.keys import RENAMED, UNUSED

VIDEO, AUDIO = -201, -202  # ids of the placeholders, as published: no token of the vocabulary


class Vision(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.tower = SiglipVisionModel._from_config(config.vision_config)
        self.layers = config.vision_config.num_hidden_layers + 1 + config.select_layer  # the rest is never needed
        self.connector = STCConnector(config.vision_config.hidden_size, config.text_config.hidden_size)

    def forward(self, patches: torch.Tensor, grids: torch.Tensor) -> torch.Tensor:
        """patches [P, 3 * side^2] of all views, grids [views, 3] of frames, rows, columns -> tokens [N, width].

        Position embeddings are stretched to a grid that is not the tower's own.
        """
        side = self.tower.config.patch_size
        counts = grids.prod(-1).tolist()
        tokens = []
        for view, (t, h, w) in zip(patches.split(counts), grids.tolist(), strict=True):
            frames = view.view(t, h, w, 3, side, side).permute(0, 3, 1, 4, 2, 5).reshape(t, 3, h * side, w * side)
            x = self.tower.embeddings(frames, interpolate_pos_encoding=True)
            for layer in self.tower.encoder.layers[: self.layers]:
                x = layer(x, None)
            tokens.append(self.connector(x.unflatten(1, (h, w))))
        return torch.cat(tokens)


class Hearing(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        inner, width = config.audio_config.hidden_size, config.text_config.hidden_size
        self.beats = Beats(config.audio_config)
        self.proj = nn.Sequential(nn.Linear(inner, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """features [sounds, 128, frames], mask [sounds, frames], 0 where padded -> tokens [N, width]."""
        out: torch.Tensor = self.proj(torch.cat(self.beats(features.transpose(1, 2), mask.sum(-1))))
        return out


class VideoLlama2Model(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.visual = Vision(config)
        self.audio_tower = Hearing(config)
        self.language_model = Qwen2Model._from_config(config.text_config)

    def forward(
        self,
        input_ids: torch.Tensor,
        *,
        pixel_values_videos: torch.Tensor | None = None,
        video_grid_thw: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        feature_attention_mask: torch.Tensor | None = None,
        **language: Any,
    ) -> Any:
        """Row ids [B, T] with `VIDEO` and `AUDIO` where tokens of the media go, in order; see the towers for those.

        `language` goes to Qwen2Model, whose output this is. Raises ValueError where media and places do not match.
        """
        embeds = self.language_model.embed_tokens(input_ids.clamp(min=0))
        if pixel_values_videos is not None:
            embeds = fill(embeds, input_ids == VIDEO, self.visual(pixel_values_videos, video_grid_thw))
        if input_features is not None:
            embeds = fill(embeds, input_ids == AUDIO, self.audio_tower(input_features, feature_attention_mask))
        return self.language_model(inputs_embeds=embeds, **language)


class VideoLlama2ForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Loads and saves weights under their published names (`keys`)."""

    config_class = VideoLlama2Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["Qwen2DecoderLayer", "SiglipEncoderLayer", "Layer", "Block"]  # noqa: RUF012
    _keys_to_ignore_on_load_unexpected = list(UNUSED)  # noqa: RUF012
    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = VideoLlama2Model(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        module: nn.Module = self.model.language_model.embed_tokens
        return module

    def forward(self, input_ids: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Logits [B, T, vocabulary] of `VideoLlama2Model.forward`."""
        logits: torch.Tensor = self.lm_head(self.model(input_ids, **inputs).last_hidden_state)
        return logits

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any) -> Self:
        """As in the base class, but a weight that is missing or of another size is a ValueError, not a random one."""
        name = pretrained_model_name_or_path
        loaded: Any = super().from_pretrained(name, *model_args, **kwargs, output_loading_info=True)
        model: Self = loaded[0]
        report = loaded[1]
        lost = sorted({*report["missing_keys"], *(k[0] for k in report["mismatched_keys"])})
        if lost:
            raise ValueError(f"{name} lacks {len(lost)} weights or has them in another size, the first is {lost[0]}")
        return model


def fill(embeds: torch.Tensor, places: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """embeds [B, T, D] with `tokens` [N, D] in the N `places` [B, T]."""
    count = int(places.sum())
    if count != len(tokens):
        raise ValueError(f"{len(tokens)} media tokens for {count} places")
    return embeds.masked_scatter(places[..., None], tokens.to(embeds.dtype))


register_checkpoint_conversion_mapping(
    VideoLlama2ForConditionalGeneration.__name__,
    [WeightRenaming(published, ours) for published, ours in RENAMED],
    overwrite=True,
)
