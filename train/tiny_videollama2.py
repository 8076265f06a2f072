"""Builds small random-weight VideoLLaMA2-AV models: the test double of the 7B."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from mllm_avqa.model.backbones.videollama2.backbone import VideoLlama2
from train.tiny import train_tokenizer


class VideoLlama2Size(BaseModel):
    """Widths and depths of the three parts."""

    model_config = ConfigDict(extra="forbid")

    vocab: int = 1024
    llm: tuple[int, int] = (64, 2)  # width, layers
    vision: tuple[int, int] = (32, 3)
    audio: tuple[int, int] = (32, 2)
    heads: int = 2  # of all three parts
    frame: int = 56  # pixels, side of the frames the vision tower is made for
    pad_seconds: float = 0.0  # sound is filled up to this length; the 7B has 30


def config(tokenizer: Any, size: VideoLlama2Size) -> Any:
    from mllm_avqa.model.backbones.videollama2.config import VideoLlama2Config

    settings: dict[str, Any] = dict(
        text_config=dict(
            vocab_size=(len(tokenizer) + 63) // 64 * 64,
            hidden_size=size.llm[0],
            intermediate_size=size.llm[0] * 2,
            num_hidden_layers=size.llm[1],
            num_attention_heads=size.heads,
            num_key_value_heads=max(1, size.heads // 2),
            rope_parameters=dict(rope_type="default", rope_theta=1e6),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        vision_config=dict(
            hidden_size=size.vision[0],
            intermediate_size=size.vision[0] * 2,
            num_hidden_layers=size.vision[1],
            num_attention_heads=size.heads,
            image_size=size.frame,
            patch_size=14,
        ),
        audio_config=dict(
            embed_dim=size.audio[0] // 2,
            hidden_size=size.audio[0],
            intermediate_size=size.audio[0] * 2,
            num_hidden_layers=size.audio[1],
            num_attention_heads=size.heads,
            conv_kernel=16,
            conv_groups=4,
            num_buckets=32,
            max_distance=64,
            pad_seconds=size.pad_seconds,
        ),
    )
    return VideoLlama2Config(**settings)


def build(corpus: Iterable[str], size: VideoLlama2Size, seed: int = 0) -> tuple[Any, Any]:
    """A random-weight model and its tokenizer (`train.tiny.save` writes them). Equal arguments, equal weights."""
    import torch

    tokenizer = train_tokenizer(corpus, size.vocab, VideoLlama2.control)
    torch.manual_seed(seed)
    return VideoLlama2.model_class()(config(tokenizer, size)), tokenizer
