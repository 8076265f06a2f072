"""Builds small random-weight Qwen3-Omni thinkers: the test double of the 30B."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from mllm_avqa.model.backbones.qwen3_omni import SPECIAL
from train.tiny import train_tokenizer


class MixtureSize(BaseModel):
    """Widths and depths of the three parts, and the mixture."""

    model_config = ConfigDict(extra="forbid")

    vocab: int = 1024
    llm: tuple[int, int] = (64, 2)  # width, layers
    vision: tuple[int, int] = (64, 2)
    audio: tuple[int, int] = (64, 1)
    heads: int = 2  # LLM attention heads; as many key-value heads
    experts: int = 4
    chosen: int = 2  # experts that work on a token
    deepstack: tuple[int, ...] = (0,)  # vision layers whose features go into the first LLM layers


def thinker_config(tokenizer: Any, size: MixtureSize) -> Any:
    from transformers import Qwen3OmniMoeThinkerConfig

    t = {s: tokenizer.convert_tokens_to_ids(s) for s in SPECIAL}
    width, layers = size.llm
    head = width // size.heads
    third = head // 2 * 5 // 16  # the 30B shares its 64 rotary pairs as 24, 20, 20
    settings: dict[str, Any] = dict(
        text_config=dict(
            vocab_size=(len(tokenizer) + 63) // 64 * 64,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            head_dim=head,
            moe_intermediate_size=width,
            num_experts=size.experts,
            num_experts_per_tok=size.chosen,
            rope_parameters=dict(
                rope_type="default",
                rope_theta=1e6,
                mrope_section=[head // 2 - 2 * third, third, third],
                mrope_interleaved=True,
            ),
            tie_word_embeddings=False,
            pad_token_id=t["<|endoftext|>"],
            eos_token_id=t["<|im_end|>"],
        ),
        vision_config=dict(
            depth=size.vision[1],
            hidden_size=size.vision[0],
            intermediate_size=size.vision[0] * 2,
            num_heads=max(1, size.vision[0] // 32),
            out_hidden_size=width,
            num_position_embeddings=64,
            deepstack_visual_indexes=list(size.deepstack),
        ),
        audio_config=dict(
            d_model=size.audio[0],
            encoder_layers=size.audio[1],
            encoder_attention_heads=max(1, size.audio[0] // 32),
            encoder_ffn_dim=size.audio[0] * 2,
            downsample_hidden_size=8,
            output_dim=width,
        ),
        audio_token_id=t["<|audio_pad|>"],
        image_token_id=t["<|image_pad|>"],
        video_token_id=t["<|video_pad|>"],
        audio_start_token_id=t["<|audio_start|>"],
        vision_start_token_id=t["<|vision_start|>"],
        position_id_per_seconds=13,
        tie_word_embeddings=False,
    )
    # head_dim and vision_start_token_id are no declared fields, yet the model reads them
    return Qwen3OmniMoeThinkerConfig(**settings)


def build(corpus: Iterable[str], size: MixtureSize, seed: int = 0) -> tuple[Any, Any]:
    """A random-weight thinker and its tokenizer (`train.tiny.save` writes them). Equal arguments, equal weights."""
    import torch
    from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

    tokenizer = train_tokenizer(corpus, size.vocab, SPECIAL)
    torch.manual_seed(seed)
    return Qwen3OmniMoeThinkerForConditionalGeneration(thinker_config(tokenizer, size)), tokenizer
