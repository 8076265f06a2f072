"""Export: adapters merged, the folder read by this project and by the ten stock lines of its README alike."""

import contextlib
import io
import json
import re

import pytest
import torch
from sample_views import make_views

from mllm_avqa.bases import catalogue
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.text import TextContext
from train import export as exporting


@pytest.fixture
def adapter(tiny_dir, tmp_path):
    """An adapter whose factors and projectors are not zero."""
    from peft import get_peft_model

    card = Card.load(tiny_dir)
    backbone = load_backbone(tiny_dir, card, torch.float32)
    torch.manual_seed(0)
    model = get_peft_model(backbone.model, lora_config(backbone, 4, 8))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * (0.3 if "lora_" in name else 0.05))
    model.save_pretrained(tmp_path / "adapter")
    card.model_copy(update={"base_model": str(tiny_dir), "training": {"s": {}}}).save(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def clip(monkeypatch, facts):
    """A window as if it had been decoded."""
    from mllm_avqa.schema.clip import MediaInfo
    from mllm_avqa.windows import Prepared

    info = MediaInfo.model_construct()
    text = TextContext()
    made = Prepared(0.0, 1.0, info, make_views(), facts, text, {"text": "no captions", "sync": "none"})
    monkeypatch.setattr(exporting, "_window", lambda clip, card: made)
    return "clip.mp4"


def run_readme(folder, monkeypatch, lines):
    """Execute the README's code block as it stands; returns what it prints."""
    monkeypatch.chdir(folder)
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) == lines
    assert "mllm_avqa" not in code
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {})
    return float(out.getvalue())


@pytest.mark.parametrize("isolate", [True, False])
def test_merged_export_scores_the_same_here_and_in_stock_transformers(adapter, clip, tmp_path, monkeypatch, isolate):
    card = Card.load(adapter)
    card.model_copy(update={"isolate": isolate}).save(adapter)
    out = tmp_path / "out"
    report = exporting.export(adapter, out, clip, "float32")
    before, after = report["example"]["before"], report["example"]["after"]
    assert set(before) == {"overall", "video", "audio"}
    assert after == pytest.approx(before, abs=1e-4)
    aspect = "video" if isolate else "overall"  # isolation of several parts needs a mask that stock code does not set
    assert run_readme(out, monkeypatch, 10 if isolate else 12) == pytest.approx(after[aspect], abs=1e-4)
    assert (aspect in report["aspects_for_stock_code"]) and (("overall" in report["aspects_for_stock_code"]) != isolate)


def test_the_folder_is_laid_out_as_the_whole_model(adapter, tmp_path):
    """What serving engines look for: the full architecture's name, keys below `thinker.`, processor files."""
    from safetensors import safe_open

    out = tmp_path / "out"
    exporting.export(adapter, out)
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["Qwen2_5OmniForConditionalGeneration"]
    assert config["thinker_config"]["text_config"]["num_hidden_layers"] == 2
    assert not config["enable_audio_output"]
    with safe_open(out / "model.safetensors", "pt") as f:
        assert all(k.startswith("thinker.") for k in f.keys())  # noqa: SIM118
        assert f.get_tensor("thinker.model.norm.weight").dtype == torch.bfloat16
    assert {"spk_dict.pt", "processor_config.json", "tokenizer.json", "avqa.yaml"} <= {p.name for p in out.iterdir()}
    assert Card.load(out).base_model is None
    assert not list(tmp_path.glob("*.part"))


def test_refusals(adapter, tmp_path):
    with pytest.raises(ConfigError, match="--dtype"):
        exporting.export(adapter, tmp_path / "o", dtype="int8")
    with pytest.raises(CheckpointError, match="not empty"):
        exporting.export(adapter, adapter)
    with pytest.raises(CheckpointError, match=r"avqa\.yaml"):
        exporting.export(tmp_path, tmp_path / "o")


def test_an_adapter_on_a_base_that_all_can_assemble_is_published_as_one(tmp_path):
    """In half the bytes, with its card, without tokenizer or base: those are made anew from the cache."""
    from safetensors.torch import load_file, save_file

    stage, out = tmp_path / "stage", tmp_path / "out"
    stage.mkdir()
    own = Card(name="m", family="qwen2_5_omni", base_model="mini-base", revision=catalogue()["mini-base"]["sha256"])
    own.save(stage)
    with pytest.raises(CheckpointError, match="holds no adapter"):
        exporting.publish(stage, out)
    save_file({"lora_A": torch.full((4, 4), 1 / 3)}, stage / "adapter_model.safetensors")
    (stage / "adapter_config.json").write_text('{"r": 4, "base_model_name_or_path": "/home/me/.cache"}')
    (stage / "tokenizer.json").write_text("{}")
    exporting.publish(stage, out)
    found = load_file(out / "adapter_model.safetensors")["lora_A"]
    torch.testing.assert_close(found, torch.full((4, 4), 1 / 3).bfloat16(), atol=0, rtol=0)
    assert Card.load(out) == own
    assert json.loads((out / "adapter_config.json").read_text()) == {"r": 4, "base_model_name_or_path": "mini-base"}
    assert sorted(p.name for p in out.iterdir()) == ["adapter_config.json", "adapter_model.safetensors", "avqa.yaml"]
