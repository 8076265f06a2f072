"""VideoLLaMA2.1-AV behind the calls of `backbones.base`: text as in the Qwen-Omni families, media its own way.

A visual token is two frames x 28 x 28 pixels. Views come either in any size of 28-pixel steps (`views.patch` 28: native
mini-patches, position embeddings are stretched) or in the published size (`views.patch` 384 with `global_pixels`
384 x 384 and a `fragment_grid` of 1 x 1: whole frames as published, one native square as fragments).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mllm_avqa.model.backbones.qwen_omni import SAMPLE_RATE, QwenOmni
from mllm_avqa.model.backbones.videollama2.fbank import HOP, WINDOW, log_mel
from mllm_avqa.model.prompting import Media, Quoted, Segment
from mllm_avqa.model.rows import EncodedSegment
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import CARD_FILE, Card, Pixels
from mllm_avqa.schema.errors import CheckpointError

MERGE = 2  # patches of the tower a visual token is wide
FRAMES = 2  # and frames it is long
SIGLIP = Pixels(mean=0.5, std=0.5)  # preprocessor_config.json of google/siglip-so400m-patch14-384


class VideoLlama2(QwenOmni):
    control = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    towers = ("visual.tower.", "audio_tower.beats.")
    projectors = ("visual.connector", "audio_tower.proj")
    lora_targets = r".*language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"

    def __init__(self, model: Any, tokenizer: Any, pixels: Pixels) -> None:
        super().__init__(model, tokenizer, None, None)
        self.pixels = pixels
        config = self.core.config
        self.side: int = config.vision_config.patch_size
        self.sound = config.audio_config
        # the tower's last layers and its pooling are not read
        unread = range(self.core.model.visual.layers, config.vision_config.num_hidden_layers)
        tower = "visual.tower."
        self.frozen = (tower + "post_layernorm", tower + "head", *(f"{tower}encoder.layers.{i}." for i in unread))

    @staticmethod
    def model_class() -> Any:
        from mllm_avqa.model.backbones.videollama2.model import VideoLlama2ForConditionalGeneration

        return VideoLlama2ForConditionalGeneration

    @classmethod
    def bare(cls, model: Any, tokenizer: Any, card: Card) -> Self:
        return cls(model, tokenizer, card.pixels or SIGLIP)

    @classmethod
    def processors(cls, base: str, revision: str | None, card: Card, config: Any) -> tuple[Any, ...]:
        """Tokenizer and pixel statistics: frames and sound need no processor of transformers."""
        from transformers import Qwen2TokenizerFast  # type: ignore[attr-defined]

        return Qwen2TokenizerFast.from_pretrained(
            base, revision=revision or "main", trust_remote_code=False
        ), card.pixels or SIGLIP

    def _check(self, directory: Path, card: Card) -> None:
        config = self.core.config
        token, frame = self.side * MERGE, config.vision_config.image_size
        wrong = []
        if card.views.patch not in (token, frame):
            wrong.append(f"views.patch is {card.views.patch}, neither {token} (any size) nor {frame} (published size)")
        if card.views.audio_rate != SAMPLE_RATE:
            wrong.append(f"views.audio_rate is {card.views.audio_rate}, this model hears {SAMPLE_RATE} Hz")
        if 0 < self.sound.pad_seconds < card.views.window_seconds:
            heard = self.sound.pad_seconds
            wrong.append(f"views.window_seconds is {card.views.window_seconds}, this model hears {heard} s at once")
        if len({i for i in self.ids.values() if i is not None}) < len(self.control):
            wrong.append(f"the tokenizer lacks one of {', '.join(self.control)}")
        if len(self.tokenizer) > config.text_config.vocab_size:
            wrong.append(f"the tokenizer has {len(self.tokenizer)} tokens, the model {config.text_config.vocab_size}")
        if wrong:
            raise CheckpointError(f"{directory / CARD_FILE}: {'; '.join(wrong)} (--checkpoint)")

    def sound_tokens(self, mel_frames: int) -> int:
        """8 bands for every 160 ms: 1496 for the 30 s that all sound is filled up to."""
        patch = self.sound.patch_size
        filled = (round(self.sound.pad_seconds * SAMPLE_RATE) - WINDOW) // HOP + 1
        return max(mel_frames, filled) // patch * (128 // patch)

    def encode_segment(self, segment: Segment, media: dict[str, torch.Tensor]) -> EncodedSegment:
        from mllm_avqa.model.backbones.videollama2.model import AUDIO, VIDEO

        i = self.ids
        ids: list[int] = []
        if segment.name == "system":
            ids += [i["<|im_start|>"], *self.text_ids("system\n")]
        for part in segment.parts:
            if not isinstance(part, Media):
                ids += self.text_ids(part.text, isinstance(part, Quoted))
            elif part.view == "sound":
                ids += [AUDIO] * self.sound_tokens(int(media["feature_attention_mask"].sum()))
            else:
                t, h, w = media["video_grid_thw"][0 if part.view == "whole" else 1].tolist()
                ids += [VIDEO] * (t // FRAMES * (h // MERGE) * (w // MERGE))
        if segment.name == "system":
            ids += [i["<|im_end|>"], *self.text_ids("\n"), i["<|im_start|>"], *self.text_ids("user\n")]
        else:
            ids += self.text_ids("\n")
        return EncodedSegment(segment.name, ids, torch.arange(len(ids)).expand(3, -1))

    def media_tensors(self, views: Views) -> dict[str, torch.Tensor]:
        """pixel_values_videos [patches, 3 * side^2], video_grid_thw [2, 3] of frames, rows and columns of
        patches; input_features [1, 128, frames], feature_attention_mask [1, frames]."""
        out: dict[str, torch.Tensor] = {}
        if views.whole is not None and views.fragments is not None:
            cut = [patches(v, self.side) for v in (views.whole, views.fragments)]
            values = torch.cat([p.flatten(0, 2) for p in cut]).float() / 255
            out["pixel_values_videos"] = (values - self.pixels.mean) / self.pixels.std
            out["video_grid_thw"] = torch.tensor([p.shape[:3] for p in cut])
        if views.sound is not None:
            shortest = WINDOW + (self.sound.patch_size - 1) * HOP  # one patch
            length = max(len(views.sound), shortest, round(self.sound.pad_seconds * SAMPLE_RATE))
            features = log_mel(np.pad(views.sound, (0, length - len(views.sound)))).T[None]
            out["input_features"] = features.contiguous()
            out["feature_attention_mask"] = torch.ones(1, features.shape[-1], dtype=torch.long)
        return out

    def hidden(self, batch: dict[str, Any], cache: Any = None) -> Any:
        """Positions count along the row alone: one of the three is enough."""
        return super().hidden(batch | {"position_ids": batch["position_ids"][0]}, cache)


def patches(frames: np.ndarray, side: int) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> uint8 [n, h // side, w // side, 3 * side^2], a patch as [3, side, side].

    A remainder at the right and bottom is dropped, as the tower's own convolution does.
    """
    n, h, w = len(frames), frames.shape[1] // side, frames.shape[2] // side
    x = torch.from_numpy(np.ascontiguousarray(frames[:, : h * side, : w * side])).view(n, h, side, w, side, 3)
    return x.permute(0, 1, 3, 5, 2, 4).flatten(3)
