"""Qwen3-Omni thinker (arXiv 2509.17765): a mixture of experts, 30 B parameters of which 3 B work on a token.

Differences to Qwen2.5-Omni: a visual token is 32 pixels wide (patch 16, merge 2) and its deeper features are added in
the first language layers (deepstack); sound has 13 tokens a second; times count 13 a second; layers are mixtures.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from mllm_avqa.model.backbones.qwen_omni import MediaTokens, QwenOmni

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>",
    "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>",
)  # fmt: skip
ATTENTION = r".*language_model\.layers\.\d+\.self_attn\.(q|k|v|o)_proj"
CONV_STRIDE = 8  # three convolutions of stride 2 over time


class Qwen3Omni(QwenOmni):
    control = SPECIAL
    marks = MediaTokens(
        "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"
    )
    # preprocessor_config.json of Qwen/Qwen3-Omni-30B-A3B-Instruct; Qwen2.5 has patch 14 and the statistics of CLIP
    video_settings: ClassVar[dict[str, Any]] = {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    lora_parameters = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
    frozen = ("mlp.gate.weight",)  # the router: without a balancing loss training it would starve experts

    def __init__(self, model: Any, tokenizer: Any, video_processor: Any, feature_extractor: Any) -> None:
        super().__init__(model, tokenizer, video_processor, feature_extractor)
        # Names, no pattern: on a Qwen mixture peft reduces a pattern to "q_proj", ..., which the sound tower has too
        self.lora_targets = [n for n, _ in self.core.named_modules() if re.fullmatch(ATTENTION, n)]
        deep = range(len(self.core.config.vision_config.deepstack_visual_indexes))
        self.projectors = (
            "visual.merger", *(f"visual.merger_list.{i}" for i in deep), "audio_tower.proj1", "audio_tower.proj2"
        )  # fmt: skip

    @staticmethod
    def model_class() -> Any:
        from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

        return Qwen3OmniMoeThinkerForConditionalGeneration

    @staticmethod
    def stock_classes() -> tuple[Any, Any] | None:
        from transformers import Qwen3OmniMoeForConditionalGeneration, Qwen3OmniMoeProcessor

        return Qwen3OmniMoeForConditionalGeneration, Qwen3OmniMoeProcessor

    def sound_tokens(self, mel_frames: int) -> int:
        """13 a second: chunks of `2 * n_window` frames are convolved one by one, each rounding up."""
        chunk = 2 * self.core.config.audio_config.n_window
        full, rest = divmod(mel_frames, chunk)
        return full * -(-chunk // CONV_STRIDE) + -(-rest // CONV_STRIDE)

    def hidden(self, batch: dict[str, Any], cache: Any = None) -> Any:
        """The text model has one kind of attention and takes its mask bare."""
        return super().hidden(batch | {"attention_mask": batch["attention_mask"]["full_attention"]}, cache)


FAMILY = Qwen3Omni
