"""Whisper weights in CTranslate2's binary format, as the tensors openai-whisper knows them by.

The format is a header and a list of named arrays (CTranslate2, `python/ctranslate2/specs/model_spec.py`, binary
version 6). Reading it takes fifty lines, so the engine itself is not a dependency.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mllm_avqa.schema.errors import CheckpointError

_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_NAMES = (  # CTranslate2 -> openai-whisper
    (r"^(en|de)coder/layer_(\d+)/", r"\1coder.blocks.\2."),
    (r"self_attention/layer_norm/", "attn_ln."),
    (r"attention/layer_norm/", "cross_attn_ln."),
    (r"ffn/layer_norm/", "mlp_ln."),
    (r"ffn/linear_0/", "mlp.0."),
    (r"ffn/linear_1/", "mlp.2."),
    (r"^encoder/layer_norm/", "encoder.ln_post."),
    (r"^decoder/layer_norm/", "decoder.ln."),
    (r"^encoder/position_encodings/encodings$", "encoder.positional_embedding"),
    (r"^decoder/position_encodings/encodings$", "decoder.positional_embedding"),
    (r"^decoder/embeddings/weight$", "decoder.token_embedding.weight"),
    (r"^encoder/conv(\d)/", r"encoder.conv\1."),
    (r"gamma$", "weight"),
    (r"beta$", "bias"),
)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a model.bin by its CTranslate2 name. Raises CheckpointError for another format or a cut file."""
    data = path.read_bytes()
    at = 0

    def take(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return int(value)

    def text() -> str:
        nonlocal at
        n = take("H")
        at += n
        return data[at - n : at].rstrip(b"\0").decode()

    try:
        version, kind, _ = take("I"), text(), take("I")
        if version != 6 or kind != "WhisperSpec":
            raise CheckpointError(f"{path}: CTranslate2 format {version} of a {kind}, expected 6 of a WhisperSpec")
        arrays = {}
        for _ in range(take("I")):
            name = text()
            shape = [take("I") for _ in range(take("B"))]
            dtype, size = np.dtype(_TYPES[take("B")]), take("I")
            arrays[name] = np.frombuffer(data, dtype, size // dtype.itemsize, at).reshape(shape)
            at += size
    except (struct.error, UnicodeDecodeError, KeyError, ValueError) as e:
        raise CheckpointError(f"{path} is not a whole CTranslate2 model ({type(e).__name__})") from e
    return arrays


def whisper_state(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state of an openai-whisper model, float16 as stored. Keys have no bias in Whisper; it is zero here."""
    return {name: value for key, array in arrays.items() for name, value in _entries(key, array)}


def _entries(key: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if array.ndim == 0 or key in ("decoder/alignment_heads", "decoder/projection/weight"):
        return
    name = key
    for pattern, text in _NAMES:
        name = re.sub(pattern, text, name)
    fused = re.match(r"(.*?\.)(self_attention|attention)/linear_(\d)/(weight|bias)$", name)
    if fused is None:
        yield name, array
        return
    block, kind, place, part = fused.groups()
    attention = f"{block}{'attn' if kind == 'self_attention' else 'cross_attn'}."
    fields = {  # linear layers that CTranslate2 joins
        ("self_attention", "0"): ("query", "key", "value"),
        ("self_attention", "1"): ("out",),
        ("attention", "0"): ("query",),
        ("attention", "1"): ("key", "value"),
        ("attention", "2"): ("out",),
    }[kind, place]
    for field, piece in zip(fields, np.split(array, len(fields)), strict=True):
        if not (field == "key" and part == "bias"):
            yield f"{attention}{field}.{part}", piece
