"""Qwen2.5-Omni thinker (arXiv 2503.20215): nano, 3B and 7B are the same code with another card."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from mllm_avqa.model.backbones.base import Keepable
from mllm_avqa.model.backbones.qwen_omni import MediaTokens, QwenOmni

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>",
    "<|IMAGE|>", "<|VIDEO|>", "<|vision_bos|>", "<|vision_eos|>",
)  # fmt: skip


class Qwen25Omni(QwenOmni):
    control = SPECIAL
    marks = MediaTokens("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|VIDEO|>", "<|vision_bos|>", "<|vision_eos|>")
    video_settings: ClassVar[dict[str, Any]] = {}
    lora_targets = r".*language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
    projectors = ("visual.merger", "audio_tower.proj")
    frozen = ("audio_tower.audio_bos_eos_token",)  # unused by the thinker, so it never gets a gradient

    @staticmethod
    def model_class() -> Any:
        from transformers import Qwen2_5OmniThinkerForConditionalGeneration

        return Qwen2_5OmniThinkerForConditionalGeneration

    @staticmethod
    def stock_classes() -> tuple[Any, Any] | None:
        from transformers import Qwen2_5OmniForConditionalGeneration, Qwen2_5OmniProcessor

        return Qwen2_5OmniForConditionalGeneration, Qwen2_5OmniProcessor

    def keepable(self) -> dict[str, Keepable]:
        visual, audio = self.core.model.visual, self.core.model.audio_tower
        chunk = 2 * audio.n_window

        def heard(frames: torch.Tensor) -> int:
            """Each chunk is halved on its own, rounding up."""
            full, rest = divmod(int(frames), chunk)
            return full * -(-chunk // 2) + -(-rest // 2)

        return {
            "vision": Keepable(visual, "blocks", "patch_embed", lambda grids: int(grids.prod(-1).sum())),
            "audio": Keepable(audio, "layers", None, heard, pair=True, bins=audio.num_mel_bins),
        }

    @torch.no_grad()
    def media_tokens(self, media: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the projectors hand to the language model, [tokens, width] of "vision" and "audio"."""
        net, out = self.core.model, {}
        if "pixel_values_videos" in media:
            out["vision"] = net.visual(media["pixel_values_videos"], grid_thw=media["video_grid_thw"]).pooler_output
        if "input_features" in media:
            mask = media["feature_attention_mask"]
            out["audio"] = net.get_audio_features(media["input_features"], mask).last_hidden_state
        return out

    def sound_tokens(self, mel_frames: int) -> int:
        """25 a second."""
        return int(self.core.model.audio_tower._get_feat_extract_output_lengths(torch.tensor(mel_frames))[1])


FAMILY = Qwen25Omni
