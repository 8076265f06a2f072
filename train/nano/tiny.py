"""Builds small random-weight Qwen2.5-Omni thinkers: the start of `nano`, and a test double."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mllm_avqa.model.backbones.qwen2_5_omni import SPECIAL
from mllm_avqa.schema.card import Pixels
from train.config import Size

# The pre-tokeniser of the Qwen2 family: single digits, words with their leading space.
QWEN2_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


FAMILY = "qwen2_5_omni"  # what is built here
# Pixels as the tower sees them, (value / 255 - mean) / std: never negative, so that brightness stays a large channel
# and the norms of the tower do not divide contrast away.
PIXELS = Pixels(mean=-0.25, std=0.27)


def train_tokenizer(
    corpus: Iterable[str], vocab: int, control: Sequence[str] = SPECIAL, words: Sequence[str] = ()
) -> Any:
    """Byte-level BPE (any Unicode in) with the Qwen2 pre-tokeniser and the control tokens of a family.

    words: strings that are one token each wherever they stand, beside the `vocab` learnt ones.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import Qwen2TokenizerFast  # type: ignore[attr-defined]

    tk = Tokenizer(models.BPE())
    tk.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tk.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(control),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tk.train_from_iterator(corpus, trainer)
    model = json.loads(tk.to_str())["model"]
    tokenizer = Qwen2TokenizerFast(
        vocab=model["vocab"],
        merges=[tuple(m) for m in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        padding_side="left",
    )
    tokenizer.add_tokens(list(control), special_tokens=True)
    tokenizer.add_tokens(list(words))
    return tokenizer


def thinker_config(tokenizer: Any, size: Size) -> Any:
    from transformers import Qwen2_5OmniThinkerConfig

    t = {s: tokenizer.convert_tokens_to_ids(s) for s in SPECIAL}
    width, layers = size.llm
    half = width // size.heads // 2  # rotary pairs, shared between time, height and width
    settings: dict[str, Any] = dict(
        text_config=dict(
            vocab_size=(len(tokenizer) + 63) // 64 * 64,
            hidden_size=width,
            intermediate_size=width * 8 // 3 // 32 * 32,
            num_hidden_layers=layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.shared_heads,
            rope_parameters=dict(
                rope_type="default",
                rope_theta=size.rope_theta,
                mrope_section=[half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8],
            ),
            tie_word_embeddings=True,
            pad_token_id=t["<|endoftext|>"],
            eos_token_id=t["<|im_end|>"],
        ),
        vision_config=dict(
            depth=size.vision[1],
            hidden_size=size.vision[0],
            intermediate_size=size.vision[0] * 8 // 3 // 32 * 32,
            num_heads=max(1, size.vision[0] // 64),
            out_hidden_size=width,
            fullatt_block_indexes=[size.vision[1] - 1],
            window_size=112,
        ),
        audio_config=dict(
            num_mel_bins=size.mel_bins,
            d_model=size.audio[0],
            encoder_layers=size.audio[1],
            encoder_attention_heads=max(1, size.audio[0] // 64),
            encoder_ffn_dim=size.audio[0] * 4,
            output_dim=width,
        ),
        audio_token_index=t["<|AUDIO|>"],
        image_token_index=t["<|IMAGE|>"],
        video_token_index=t["<|VIDEO|>"],
        audio_start_token_id=t["<|audio_bos|>"],
        audio_end_token_id=t["<|audio_eos|>"],
        vision_start_token_id=t["<|vision_bos|>"],
        vision_end_token_id=t["<|vision_eos|>"],
        user_token_id=tokenizer.convert_tokens_to_ids("user"),
        tie_word_embeddings=True,
    )
    # vision_start/end ids are no declared fields, yet positions cannot be computed without them
    return Qwen2_5OmniThinkerConfig(**settings)


def build(corpus: Iterable[str], size: Size, seed: int = 0, words: Sequence[str] = ()) -> tuple[Any, Any]:
    """A random-weight thinker and its tokenizer. Equal arguments give equal weights."""
    import torch
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    tokenizer = train_tokenizer(corpus, size.vocab, words=words)
    torch.manual_seed(seed)
    model = Qwen2_5OmniThinkerForConditionalGeneration(thinker_config(tokenizer, size))
    return model, tokenizer


def see_bands(model: Any) -> None:
    """Start the vision tower as an analyser of frequency bands.

    Blur, noise, block edges and flicker are statements about the energy of bands, and energy is a square: a tower from
    random weights has to find filters and squares first. So the patch embedding starts as a DCT of the frame pair's
    mean, of its difference, and of colour, every filter scaled to unit spread on natural pictures (amplitudes measured
    on 100 clips); the first block's MLP starts with pairs of neurons whose sum is close to the square of one band and
    writes it to channels that the embedding leaves empty. All of it is trained on.
    """
    import numpy as np
    import torch

    visual = model.model.visual
    weight = visual.patch_embed.proj.weight  # [D, 3, 2, 14, 14]
    d, _, t, s, _ = weight.shape
    basis = np.stack([np.cos(np.pi * (np.arange(s) + 0.5) * f / s) for f in range(s)])
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    luma = np.array([0.299, 0.587, 0.114])
    chroma = [np.array([1, -1, 0]), np.array([0.5, 0.5, -1])]
    mean, change = np.full(t, t**-0.5), np.array([1.0, -1.0]) / 2**0.5
    order = sorted(((u, v) for u in range(s) for v in range(s)), key=lambda uv: (uv[0] + uv[1], abs(uv[0] - uv[1]), uv))
    squares = d * 3 // 8
    bands, changes = (d - squares) * 5 // 8, (d - squares) // 4
    plan = [(luma, mean, uv, 0.9 * max(1, sum(uv)) ** -1.4) for uv in _spread(order[1:], bands)]
    plan += [(luma, change, uv, 0.06 * (1 + sum(uv) / 3) ** -1.2) for uv in _spread(order, changes)]
    left = d - squares - len(plan) - 1
    coloured = _spread(order[:40], -(-left // 2))
    plan += [(c, mean, uv, 0.13 * max(0.4, sum(uv)) ** -1.45) for uv in coloured for c in chroma]
    plan = [(luma, mean, (0, 0), 9.0), *plan[: d - squares - 1]]  # brightness first: it keeps the norms from dividing
    std = PIXELS.std
    filters = [np.einsum("c,t,y,x->ctyx", c, m, basis[u], basis[v]) * std / spread for c, m, (u, v), spread in plan]
    filters[0] *= 6.0
    mlp = visual.blocks[0].mlp
    # flicker is the square of the change of brightness, the first of its group: never skipped
    squared = [bands + 1, *(1 + int(k) for k in np.linspace(0, len(plan) - 2, squares - 1))]
    with torch.no_grad():
        weight.zero_()
        weight[: len(plan)] = torch.from_numpy(np.stack(filters)).to(weight)
        for i, channel in enumerate(squared):
            for j, sign in ((2 * i, 1.0), (2 * i + 1, -1.0)):
                for part, gain in ((mlp.gate_proj, 2.0), (mlp.up_proj, 1.0)):
                    part.weight[j] = 0.0
                    part.weight[j, channel] = sign * gain
                    part.bias[j] = 0.0
                mlp.down_proj.weight[:, j] = 0.0
                mlp.down_proj.weight[len(plan) + i, j] = 0.5


def _spread(items: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """`count` of the items: the first third as they come, the others evenly over the rest."""
    first = min(len(items), count // 3)
    step = (len(items) - first) / max(1, count - first)
    return items[:first] + [items[first + int(k * step)] for k in range(count - first)]
