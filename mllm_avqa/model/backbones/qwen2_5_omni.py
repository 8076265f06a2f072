"""Qwen2.5-Omni thinker (arXiv 2503.20215): nano, 3B and 7B are the same code with another card."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

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

    def sound_tokens(self, mel_frames: int) -> int:
        """25 a second."""
        return int(self.core.model.audio_tower._get_feat_extract_output_lengths(torch.tensor(mel_frames))[1])
