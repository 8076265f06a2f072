"""GGUF read by the format's rules, against a file written here; what is cut or of another kind is a typed error."""

import struct

import numpy as np
import pytest

from mllm_avqa.bases.gguf import read_gguf
from mllm_avqa.schema.errors import CheckpointError


def text(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def gguf(tensors, version=3):
    """tensors: name -> (shape as stored, kind, bytes)"""
    told = text("general.name") + struct.pack("<I", 8) + text("tiny")
    told += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("Ġa") + text("b")
    head, body = b"", b""
    for name, (shape, kind, data) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(body))
        body += data + bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), 2) + told + head
    return head + bytes(-len(head) % 32) + body


def blocks():
    """One block of each kind, and its values by the definition of the format."""
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 16, 32)
    bytes_ = rng.integers(-128, 128, 32).astype(np.int8)
    packed = (halves[:16] | halves[16:] << 4).astype(np.uint8).tobytes()
    scale, least = np.float16(0.37), np.float16(-1.5)
    plain = rng.normal(size=6).astype(np.float32)
    return {
        "q4": ((32,), 3, scale.tobytes() + least.tobytes() + packed, [float(scale) * h + float(least) for h in halves]),
        "q8": ((32,), 8, scale.tobytes() + bytes_.tobytes(), [float(scale) * int(b) for b in bytes_]),
        "f32": ((3, 2), 0, plain.tobytes(), plain.tolist()),
    }


def test_values_are_those_of_the_format(tmp_path):
    made = blocks()
    (tmp_path / "m.gguf").write_bytes(gguf({n: v[:3] for n, v in made.items()}))
    found = read_gguf(tmp_path / "m.gguf")
    assert found.told == {"general.name": "tiny", "tokenizer.ggml.tokens": ["Ġa", "b"]}
    for name, (shape, _, _, values) in made.items():
        assert found.tensors[name].shape == shape[::-1]  # the fastest axis is named first
        assert found.tensors[name].dtype == np.float32
        np.testing.assert_allclose(found.tensors[name].ravel(), values, rtol=1e-6)


@pytest.mark.parametrize("cut", [0, 3, 30, 90, 200, -40])
def test_a_cut_file_is_a_typed_error(tmp_path, cut):
    data = gguf({n: v[:3] for n, v in blocks().items()})
    (tmp_path / "m.gguf").write_bytes(data[:cut])
    with pytest.raises(CheckpointError, match=r"m\.gguf is not a whole GGUF model"):
        read_gguf(tmp_path / "m.gguf")


@pytest.mark.parametrize("data", [gguf({}, version=2), gguf({"x": ((32,), 14, bytes(210))}), b"PK\3\4" + bytes(99)])
def test_other_formats_and_blocks_are_refused(tmp_path, data):
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(CheckpointError, match="is not a whole GGUF"):
        read_gguf(tmp_path / "m.gguf")
