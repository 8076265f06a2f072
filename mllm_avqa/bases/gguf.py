"""Language models in GGUF: what the file says of itself, and its tensors as float32.

The format (github.com/ggml-org/ggml, docs/gguf.md, version 3) is a header of typed values, a table of tensors and their
data in blocks. The three kinds of block that are read here take a line each, so the `gguf` package is not a dependency.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mllm_avqa.schema.errors import CheckpointError

STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
F32, F16, Q4_1, Q8_0 = 0, 1, 3, 8
# Values and bytes of a block
BLOCKS = {F32: (1, 4), F16: (1, 2), Q4_1: (32, 20), Q8_0: (32, 34)}


@dataclass(frozen=True)
class Gguf:
    told: dict[str, Any]  # "llama.block_count", "tokenizer.ggml.tokens", ...
    tensors: dict[str, np.ndarray]  # float32, [out, in]


def read_gguf(path: Path) -> Gguf:
    """Raises CheckpointError for another format, a kind of block that is not read here, or a cut file."""
    data = path.read_bytes()
    try:
        return _read(data)
    except (struct.error, UnicodeDecodeError, KeyError, ValueError, IndexError) as e:
        raise CheckpointError(f"{path} is not a whole GGUF model of version 3 ({type(e).__name__}: {e})") from e


def _read(data: bytes) -> Gguf:
    at = 4

    def take(form: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return value

    def text() -> str:
        nonlocal at
        n = take("Q")
        if at + n > len(data):
            raise ValueError("cut")
        at += n
        return data[at - n : at].decode()

    def value(kind: int) -> Any:
        if kind == STRING:
            return text()
        if kind == ARRAY:
            inner, n = take("I"), take("Q")
            return [value(inner) for _ in range(n)]
        return take(NUMBERS[kind])

    if data[:4] != b"GGUF" or take("I") != 3:
        raise ValueError("no GGUF of version 3")
    count, entries = take("Q"), take("Q")
    told = {}
    for _ in range(entries):
        key = text()
        told[key] = value(take("I"))
    table = []
    for _ in range(count):
        name = text()
        shape = [take("Q") for _ in range(take("I"))][::-1]  # the fastest axis is named first
        table.append((name, shape, take("I"), take("Q")))
    unit = told.get("general.alignment", 32)
    start = -(-at // unit) * unit
    return Gguf(told, {name: _values(data, start + offset, shape, kind) for name, shape, kind, offset in table})


def _values(data: bytes, at: int, shape: list[int], kind: int) -> np.ndarray:
    if kind not in BLOCKS:
        raise ValueError(f"blocks of kind {kind} are not read")
    values, size = BLOCKS[kind]
    blocks = int(np.prod(shape)) // values
    raw = np.frombuffer(data, np.uint8, blocks * size, at).reshape(blocks, size)
    if kind == F32:
        found = raw.view(np.float32)
    elif kind == F16:
        found = raw.view(np.float16).astype(np.float32)
    elif kind == Q8_0:  # scale, 32 signed bytes
        found = raw[:, :2].view(np.float16).astype(np.float32) * raw[:, 2:].view(np.int8)
    else:  # Q4_1: scale, least value, 32 halves of bytes: the low ones first
        scale, least = (raw[:, k : k + 2].copy().view(np.float16).astype(np.float32) for k in (0, 2))
        found = np.concatenate([raw[:, 4:] & 15, raw[:, 4:] >> 4], 1) * scale + least
    return found.astype(np.float32, copy=False).reshape(shape)
