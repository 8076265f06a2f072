"""Whisper's tensors out of CTranslate2's file, against a file written here by the format's rules."""

import struct

import numpy as np
import pytest

from mllm_avqa.bases.ctranslate2 import read_arrays, whisper_state
from mllm_avqa.schema.errors import CheckpointError


def write(path, arrays, version=6, kind="WhisperSpec"):
    def text(s):
        return struct.pack("<H", len(s) + 1) + s.encode() + b"\0"

    out = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(arrays))
    for name, a in arrays.items():
        out += text(name) + struct.pack(f"<B{a.ndim}I", a.ndim, *a.shape)
        out += struct.pack("<BI", 4, a.nbytes) + a.tobytes()
    path.write_bytes(out + struct.pack("<I", 0))
    return path


def test_joined_layers_come_apart_and_names_fit_the_model(tmp_path):
    from whisper.model import ModelDimensions, Whisper

    model = Whisper(ModelDimensions(80, 6, 8, 2, 1, 11, 5, 8, 2, 1))
    state = {k: v.detach().half().numpy() for k, v in model.state_dict().items()}
    arrays = dict(joined(state))
    found = whisper_state(read_arrays(write(tmp_path / "model.bin", arrays)))
    assert set(found) == set(state)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def joined(state):
    """The converter's renaming, told the other way round."""
    yield "encoder/position_encodings/encodings", state["encoder.positional_embedding"]
    yield "decoder/position_encodings/encodings", state["decoder.positional_embedding"]
    yield "decoder/embeddings/weight", state["decoder.token_embedding.weight"]
    for side, norm in (("encoder", "ln_post"), ("decoder", "ln")):
        for end, part in (("gamma", "weight"), ("beta", "bias")):
            yield f"{side}/layer_norm/{end}", state[f"{side}.{norm}.{part}"]
        block, there = f"{side}/layer_0", f"{side}.blocks.0"
        yield from norms(state, f"{block}/self_attention", f"{there}.attn_ln")
        yield from norms(state, f"{block}/ffn", f"{there}.mlp_ln")
        for n, layer in ((0, "mlp.0"), (1, "mlp.2")):
            for part in ("weight", "bias"):
                yield f"{block}/ffn/linear_{n}/{part}", state[f"{there}.{layer}.{part}"]
        yield from linear(
            state, f"{block}/self_attention/linear_0", [f"{there}.attn.{f}" for f in ("query", "key", "value")]
        )
        yield from linear(state, f"{block}/self_attention/linear_1", [f"{there}.attn.out"])
    yield from norms(state, "decoder/layer_0/attention", "decoder.blocks.0.cross_attn_ln")
    cross = "decoder.blocks.0.cross_attn"
    for n, fields in enumerate((["query"], ["key", "value"], ["out"])):
        yield from linear(state, f"decoder/layer_0/attention/linear_{n}", [f"{cross}.{f}" for f in fields])
    for n in (1, 2):
        for part in ("weight", "bias"):
            yield f"encoder/conv{n}/{part}", state[f"encoder.conv{n}.{part}"]


def norms(state, there, here):
    yield f"{there}/layer_norm/gamma", state[f"{here}.weight"]
    yield f"{there}/layer_norm/beta", state[f"{here}.bias"]


def linear(state, there, fields):
    for part in ("weight", "bias"):
        size = state[f"{fields[0]}.weight"].shape[0]
        pieces = [state.get(f"{f}.{part}", np.zeros(size, np.float16)) for f in fields]
        yield f"{there}/{part}", np.concatenate(pieces)


@pytest.mark.parametrize("cut", [0, 3, 40, 400])
def test_a_cut_file_is_a_typed_error(tmp_path, cut):
    whole = write(tmp_path / "m", {"encoder/conv1/bias": np.zeros(300, np.float16)}).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:cut])
    with pytest.raises(CheckpointError, match="CTranslate2"):
        read_arrays(tmp_path / "cut")


def test_another_kind_of_model_is_named(tmp_path):
    path = write(tmp_path / "m", {}, kind="TransformerSpec")
    with pytest.raises(CheckpointError, match="TransformerSpec"):
        read_arrays(path)
