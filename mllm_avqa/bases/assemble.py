"""mini's base: one model folder out of a language model in GGUF, Whisper's encoder, and a start of our own.

The class is that of Qwen2.5-Omni's thinker. What no download holds (the schooled vision tower, what Whisper's encoder
learnt at school, where the projectors and the new tokens start) lies in `mini/start.safetensors`, so that the base has
the same bits everywhere and an adapter fits; no seed is drawn here. `mini/tokens.json` names the tokens that are added
to the language model's own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mllm_avqa.bases.ctranslate2 import read_arrays, whisper_state
from mllm_avqa.bases.gguf import Gguf, read_gguf

if TYPE_CHECKING:
    import torch

DATA = Path(__file__).parent / "mini"
START, CONFIG, TOKENS = "start.safetensors", "config.json", "tokens.json"
TEXT = (  # GGUF -> Qwen2.5-Omni's text model, which has biases that Llama lacks
    (r"^token_embd", "model.embed_tokens"),
    (r"^output_norm", "model.norm"),
    (r"^blk\.", "model.layers."),
    (r"attn_norm", "input_layernorm"),
    (r"ffn_norm", "post_attention_layernorm"),
    (r"attn_output", "self_attn.o_proj"),
    (r"attn_(q|k|v)", r"self_attn.\1_proj"),
    (r"ffn_(gate|up|down)", r"mlp.\1_proj"),
)
SOUND = (  # openai-whisper -> the audio tower
    (r"^encoder\.", "audio_tower."),
    (r"\.blocks\.", ".layers."),
    (r"attn_ln", "self_attn_layer_norm"),
    (r"mlp_ln", "final_layer_norm"),
    (r"mlp\.0", "fc1"),
    (r"mlp\.2", "fc2"),
    (r"\.attn\.out", ".self_attn.out_proj"),
    (r"\.attn\.(query|key|value)", lambda m: f".self_attn.{m[1][0]}_proj"),
)


def assemble(language: Path, sound: Path, start: Mapping[str, torch.Tensor], out: Path) -> str:
    """Writes config, tokenizer and, last, the weights `out` beside them. Returns the hash of the tensors' content.

    start: by name, what no download holds, and "tokens" [added, width]. NAME.up [out, rank] and NAME.down [rank, in]
    are added to the downloaded matrix NAME.weight.
    """
    from safetensors.torch import save_file

    told = read_gguf(language)
    config = json.loads((DATA / CONFIG).read_text(encoding="utf-8"))
    tensors = dict(text_tensors(told, start["tokens"], config["text_config"]["vocab_size"]))
    tensors |= dict(sound_tensors(sound))
    for name in [n.removesuffix(".up") for n in start if n.endswith(".up")]:
        tensors[f"{name}.weight"] = taught(tensors[f"{name}.weight"], start[f"{name}.up"], start[f"{name}.down"])
    tensors |= {name: t for name, t in start.items() if name != "tokens" and not name.endswith((".up", ".down"))}
    out.parent.mkdir(parents=True, exist_ok=True)
    (out.parent / CONFIG).write_text((DATA / CONFIG).read_text(encoding="utf-8"), encoding="utf-8")
    tokenizer(told, json.loads((DATA / TOKENS).read_text(encoding="utf-8"))).save_pretrained(out.parent)
    save_file(tensors, out, {"format": "pt"})
    return content(tensors)


def content(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 of names, kinds, shapes and bytes: the same whatever version of a library wrote the file."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].contiguous()
        digest.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        digest.update(t.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def text_tensors(model: Gguf, added: torch.Tensor, vocabulary: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The language model in bfloat16, its vocabulary filled up with the added tokens and zeros."""
    import torch

    heads = {"q": model.told["llama.attention.head_count"], "k": model.told["llama.attention.head_count_kv"]}
    for own, values in model.tensors.items():
        name = _renamed(own, TEXT)
        weight = values
        if found := re.search(r"self_attn\.(q|k|v)_proj", name):
            if found[1] in heads:  # GGUF lays rotary pairs side by side
                n = heads[found[1]]
                weight = values.reshape(n, -1, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
            yield name.replace("weight", "bias"), torch.zeros(len(values), dtype=torch.bfloat16)
        tensor = torch.from_numpy(np.array(weight)).bfloat16()
        if name.startswith("model.embed_tokens"):
            rest = torch.zeros(vocabulary - len(tensor) - len(added), tensor.shape[1], dtype=torch.bfloat16)
            tensor = torch.cat([tensor, added.bfloat16(), rest])
        yield name, tensor


def sound_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Whisper's encoder as it is stored, in float16. Positions are computed by the class."""
    import torch

    for own, values in whisper_state(read_arrays(path)).items():
        if own.startswith("encoder.") and "positional" not in own:
            yield _renamed(own, SOUND), torch.from_numpy(np.array(values))


def taught(weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """weight + up @ down, summed in float64: rounded back it has the same bits on every processor."""
    return (weight.double() + up.double() @ down.double()).to(weight.dtype)


def tokenizer(model: Gguf, added: Mapping[str, list[str]]) -> Any:
    """SmolLM2's byte-level BPE with control tokens, and fact tokens, which no learnt token spells."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    told = model.told
    words: list[str] = told["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in told["tokenizer.ggml.merges"]]
    inner = Tokenizer(models.BPE({w: k for k, w in enumerate(words)}, merges))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    inner.decoder = decoders.ByteLevel()
    own = [w for w, kind in zip(words, told["tokenizer.ggml.token_type"], strict=True) if kind == 3]  # control
    inner.add_special_tokens([AddedToken(w, normalized=False, special=True) for w in [*own, *added["control"]]])
    inner.add_tokens([AddedToken(w, normalized=False) for w in added["facts"]])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _renamed(name: str, rules: tuple[tuple[str, Any], ...]) -> str:
    for pattern, text in rules:
        name = re.sub(pattern, text, name)
    return name
