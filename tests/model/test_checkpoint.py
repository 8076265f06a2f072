"""A checkpoint opened in the precision and place the user asks for."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mllm_avqa.cli import app
from mllm_avqa.model import checkpoint
from mllm_avqa.model.backbones import load_backbone, loading
from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.model.checkpoint import open_checkpoint
from mllm_avqa.model.weights import weights_hash
from mllm_avqa.rater import Rater
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError


def write_tone(path):
    import wave

    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(16000)
        w.writeframes((np.sin(np.arange(16000) / 10) * 9000).astype(np.int16).tobytes())
    return path


def test_the_hash_is_that_of_the_files_in_name_order(tmp_path):
    (tmp_path / "b.safetensors").write_bytes(b"2" * (5 << 20))  # more than a block
    (tmp_path / "a.safetensors").write_bytes(b"1")
    (tmp_path / "avqa.yaml").write_bytes(b"not a weight")
    assert weights_hash(tmp_path) == hashlib.sha256(b"1" + b"2" * (5 << 20)).hexdigest()[:16]


def test_pickled_weights_and_the_base_of_an_adapter_count(tmp_path):
    """Pickled weights hashed to nothing, and two adapters of equal bytes on different bases were one checkpoint."""
    pickled, adapter, empty = tmp_path / "pickled", tmp_path / "adapter", tmp_path / "empty"
    for folder in (pickled, adapter, empty):
        folder.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"1")
    assert weights_hash(pickled) == hashlib.sha256(b"1").hexdigest()[:16] != weights_hash(empty)
    (adapter / "adapter_model.safetensors").write_bytes(b"2")
    card = Card(name="a", family="qwen2_5_omni", base_model="../pickled")
    local = weights_hash(adapter, card)
    (pickled / "pytorch_model.bin").write_bytes(b"3")
    hub = [card.model_copy(update={"base_model": "some/base", "revision": r}) for r in ("abc", "def")]
    found = {weights_hash(adapter), local, weights_hash(adapter, card), *(weights_hash(adapter, c) for c in hub)}
    assert len(found) == 5


def test_float32_on_the_cpu_is_named_by_its_hash_alone(tiny_dir):
    backbone, card, weights = open_checkpoint(str(tiny_dir), device="cpu")
    assert {(p.device.type, p.dtype) for p in backbone.model.parameters()} == {("cpu", torch.float32)}
    assert not backbone.model.training
    assert (card.name, weights) == ("tiny", weights_hash(tiny_dir))


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_a_clip_is_rated_in_bfloat16_and_the_fingerprint_says_so(tiny_dir, tmp_path, dtype):
    rater = Rater.from_pretrained(str(tiny_dir), threads=1, device="cpu", dtype=dtype, context="none")
    try:
        assert {p.dtype for p in rater.backbone.model.parameters()} == {torch.bfloat16}
        assert rater.fingerprint["weights"] == f"{weights_hash(tiny_dir)}-bfloat16"
        found = rater.rate(write_tone(tmp_path / "a.wav"), explain=False)
    finally:
        rater.close()
    assert 1 <= found.scores["audio"].score <= 5
    assert sum(found.scores["audio"].probs.values()) == pytest.approx(1, abs=1e-3)


def test_four_bit_without_its_library_is_refused_by_the_rater_and_by_the_command(tiny_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "bitsandbytes" else object())
    with pytest.raises(ConfigError, match=r"4-bit loading needs bitsandbytes.*pip install"):
        Rater.from_pretrained(str(tiny_dir), four_bit=True)
    clip = write_tone(tmp_path / "a.wav")
    result = CliRunner().invoke(app, ["rate", str(clip), "--checkpoint", str(tiny_dir), "--four-bit"])
    assert result.exit_code == 2
    assert "4-bit loading needs bitsandbytes" in result.stderr
    assert result.stdout == ""


def test_four_bit_weights_are_made_where_they_stay(tiny_dir, monkeypatch):
    asked = {}

    def load(directory, card, dtype, **options):
        asked.update(options, dtype=dtype)
        model = torch.nn.Linear(1, 1)
        model.is_loaded_in_4bit = True
        return type("Fake", (), {"model": model})

    monkeypatch.setattr("mllm_avqa.model.backbones.load_backbone", load)
    _, _, weights = open_checkpoint(str(tiny_dir), device="cpu", dtype="bfloat16", four_bit=True)
    options = {"device_map": {"": "cpu"}, "four_bit": True, "allow_pickle": False, "merged": True}
    assert asked == options | {"dtype": torch.bfloat16}
    assert weights == f"{weights_hash(tiny_dir)}-bfloat16-nf4"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:99"}, r"device 'cuda:99' is not one of cpu.*\(--device\)"),
        ({"device": "gpu"}, r"device 'gpu' is not one of cpu"),
        ({"dtype": "int8"}, r"dtype 'int8' is not one of auto, float32, bfloat16, float16 \(--dtype\)"),
        ({"dtype": torch.float64}, "dtype 'float64' is not one of"),
        ({"device": "cpu", "device_map": "auto"}, "device 'cpu' and device_map 'auto' both place the model"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(tiny_dir, monkeypatch, options, message):
    monkeypatch.setattr("mllm_avqa.model.backbones.load_backbone", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match=message):
        open_checkpoint(str(tiny_dir), **options)


@pytest.mark.parametrize(
    ("large", "fast", "expected"),
    [(True, True, "bfloat16"), (True, False, "float32"), (False, True, "float32")],
)
def test_auto_is_bfloat16_for_a_large_model_where_the_processor_multiplies_it(
    tiny_dir, monkeypatch, large, fast, expected
):
    monkeypatch.setattr(checkpoint, "LARGE", 1000 if large else 1 << 40)
    monkeypatch.setattr(checkpoint, "fast_bfloat16", lambda device: fast)
    backbone, _, weights = open_checkpoint(str(tiny_dir), device="cpu", dtype="auto")
    assert next(backbone.model.parameters()).dtype == getattr(torch, expected)
    assert weights.endswith("-bfloat16") == (expected == "bfloat16")


def test_an_adapter_is_part_of_the_weights_where_a_checkpoint_is_opened(tiny_dir, tmp_path):
    """Low rank, projectors and rows of added tokens: the logits of the adapter beside the weights, at half its cost."""
    from peft import get_peft_model

    own = Card.load(tiny_dir)
    trained = load_backbone(tiny_dir, own)
    added = sorted(trained.tokenizer.added_tokens_decoder)
    net = get_peft_model(trained.model, lora_config(trained, 4, 8, tokens=True))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if any(part in name for part in ("lora_", "modules_to_save", "trainable_tokens")):
                p.add_(torch.randn_like(p) * 0.1)
    net.save_pretrained(tmp_path)
    own.model_copy(update={"base_model": str(tiny_dir), "training": {"s": {}}}).save(tmp_path)
    opened, card, _ = open_checkpoint(str(tmp_path), device="cpu")
    beside = load_backbone(tmp_path, card)
    assert hasattr(beside.model, "peft_config")
    assert not hasattr(opened.model, "peft_config")
    assert not any("lora" in name for name, _ in opened.model.named_parameters())
    ids = torch.tensor([[*added, *opened.text_ids("How good is the picture of this clip?")]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        plain = load_backbone(tiny_dir, own).model(**batch).logits
        merged, apart = opened.model(**batch).logits, beside.model(**batch).logits
    torch.testing.assert_close(merged, apart, atol=1e-4, rtol=0)
    assert float((merged - plain).abs().max()) > 0.1
