"""How much GPU memory a stage needs, estimated from shapes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GIB = 2**30


@dataclass(frozen=True)
class Setup:
    """What of the set-up decides about memory."""

    gpus: int = 1
    zero: int = 0  # ZeRO stage, 0 = plain data parallelism
    half: bool = False  # weights and gradients in bf16 with an fp32 master copy (DeepSpeed's bf16), else all in fp32
    checkpointing: bool = False


@dataclass(frozen=True)
class Stack:
    """A stack of transformer layers and the positions that run through it."""

    layers: int
    width: int
    inner: int  # of the feed-forward layer, summed over the experts a token goes to
    attention: int  # heads x head size of the queries
    shared: int  # the same of keys, values
    positions: int  # of a micro-batch
    kept: bool  # a gradient passes: activations stay until the backward pass


@dataclass(frozen=True)
class Footprint:
    """Bytes on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations

    def gib(self) -> dict[str, float]:
        parts = {k: getattr(self, k) for k in ("weights", "gradients", "optimizer", "activations", "total")}
        return {k: round(v / GIB, 3 if v < GIB else 1) for k, v in parts.items()}


def footprint(
    parameters: int, trained: int, stacks: list[Stack], logits: int, mask: int, setup: Setup = Setup()
) -> Footprint:
    """Estimate for P parameters of which T are trained, on N GPUs with ZeRO stage z (arXiv 1910.02054, section 3).

    weights    P x 4 bytes (2 with `half`), divided by N for z = 3
    gradients  T x 4 bytes (2 with `half`), divided by N for z >= 2
    optimizer  T x 8 bytes: AdamW's two moments in fp32 (12 with `half`: the master copy), divided by N for z >= 1
    activations of one micro-batch under bf16 autocast:
      a layer keeps, per position, 24 width + 4 attention + 4 shared + 8 inner bytes (residual stream and norms in
      fp32; projections and the four tensors of a gated feed-forward layer in bf16; attention scores are never stored);
      with checkpointing a stack keeps 4 x width bytes per position and layer, and all of one layer at a time
      (arXiv 2205.05198); a stack no gradient passes keeps one layer's working set;
      + 12 bytes per answer logit (fp32 logits, their softmax and its gradient) + 3 bytes per entry of the row mask.

    logits: answer positions x vocabulary; mask: rows x length^2. Not counted: the allocator's fragmentation, CUDA's own
    0.5-1 GiB, ZeRO's communication buffers (about 1 GiB), and, with z = 3, the one layer that is gathered at a time.
    """
    n = max(1, setup.gpus)
    weight, gradient, moments = (2, 2, 12) if setup.half else (4, 4, 8)
    kept = [_kept(s, setup.checkpointing) for s in stacks]
    return Footprint(
        weights=parameters * weight / (n if setup.zero >= 3 else 1),
        gradients=trained * gradient / (n if setup.zero >= 2 else 1),
        optimizer=trained * moments / (n if setup.zero >= 1 else 1),
        activations=sum(kept) + 12 * logits + 3 * mask,
    )


def _kept(s: Stack, checkpointing: bool) -> float:
    layer = s.positions * (24 * s.width + 4 * s.attention + 4 * s.shared + 8 * s.inner)
    if not s.kept:
        return layer
    return s.layers * s.positions * 4 * s.width + layer if checkpointing else s.layers * layer


def stacks(config: Any, tokens: dict[str, int], kept: dict[str, bool]) -> list[Stack]:
    """The stacks of a thinker's config. tokens: of a micro-batch, by "row", "visual" and "sound"; kept: by part."""
    text, vision, sound = config.text_config, config.vision_config, config.audio_config
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    experts = getattr(text, "num_experts_per_tok", None)
    # tower positions in a visual token: patches of a merged pair of frames (Qwen), or of two frames (VideoLLaMA2)
    merge = vision.spatial_merge_size**2 if hasattr(vision, "spatial_merge_size") else 8
    wide = vision.hidden_size
    heard = _first(sound, "d_model", "hidden_size")
    return [
        Stack(
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            inner=text.moe_intermediate_size * experts if experts else text.intermediate_size,
            attention=heads * head,
            shared=text.num_key_value_heads * head,
            positions=tokens["row"],
            kept=kept["llm"],
        ),
        Stack(
            layers=_first(vision, "depth", "num_hidden_layers"),
            width=wide,
            inner=vision.intermediate_size,
            attention=wide,
            shared=wide,
            positions=tokens["visual"] * merge,
            kept=kept["vision"],
        ),
        Stack(
            layers=_first(sound, "encoder_layers", "num_hidden_layers"),
            width=heard,
            inner=_first(sound, "encoder_ffn_dim", "intermediate_size"),
            attention=heard,
            shared=heard,
            positions=tokens["sound"] * 2,  # two tower positions are pooled into one token
            kept=kept["audio"],
        ),
    ]


def _first(config: Any, *names: str) -> int:
    return int(next(getattr(config, n) for n in names if hasattr(config, n)))
