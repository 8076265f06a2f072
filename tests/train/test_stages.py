"""Training for real: clips are synthesised, three stages run from scratch, a broken run goes on where it was."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from train import run as stages
from train.config import load_config
from train.trainer import RatingTrainer

ROOT = Path(__file__).parent.parent.parent
SMOKE = ROOT / "train" / "configs" / "smoke.yaml"


def command(*args):
    line = [sys.executable, "-m", *map(str, args)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    command("data_recipes", "synth", ROOT / "data_recipes" / "recipes" / "smoke.yaml", "-o", folder / "data")
    return folder / "data" / "records.jsonl"


def test_smoke_config_trains_all_stages_and_reloads(data, tmp_path):
    out = command("train", "run", SMOKE, "--set", f"records={data}", "--set", f"output={tmp_path}")
    result = json.loads(out)
    for name, report in result["stages"].items():
        assert report["last_loss"] < report["first_loss"], name
        assert report["reload_max_diff"] <= 1e-5
    last = Path(result["checkpoint"])
    assert (last / "adapter_model.safetensors").is_file()  # stages 2 and 3 trained one LoRA adapter
    card = Card.load(last)
    assert set(card.training) == {"stage1", "stage2", "stage3"}
    moved = tmp_path.with_name("moved")
    shutil.move(tmp_path, moved)  # an adapter finds its base beside it, wherever the run folder lies
    backbone, _ = stages.reopened(moved / last.name)
    assert any("lora_" in n for n, _ in backbone.model.named_parameters())


@pytest.mark.parametrize("frozen", ["base_dtype=bfloat16", "four_bit=true"])
def test_a_small_base_is_trained_low_rank_and_reloads(data, tmp_path, frozen):
    """Frozen weights are bf16 or 4 bits and stay what they were; what is trained is fp32, in the file as well."""
    from safetensors.torch import load_file

    if "four_bit" in frozen:
        pytest.importorskip("bitsandbytes")
    wide = "build.size.llm=[128, 1]"  # on a CPU, bitsandbytes multiplies whole blocks of 64 inputs
    stages.run(config(data, tmp_path / "base", wide))
    low = [
        f"records={data}", f"output={tmp_path / 'low'}", "warmup=null", frozen,
        f"init={tmp_path / 'base' / 'only'}",
        "stages=[{name: low, steps: 2, batch: 2, lr: 1.0e-3, mixture: {stage2: 1}, tune: lora, save_every: 2}]",
    ]  # fmt: skip
    last = stages.run(load_config(SMOKE, low))
    report = json.loads((last / "stage.json").read_text())
    assert report["reload_max_diff"] <= 1e-5 and report["last_loss"] > 0
    held = load_file(last / "adapter_model.safetensors")
    assert {t.dtype for t in held.values()} == {torch.float32}
    assert any("lora_B" in n and t.abs().max() > 0 for n, t in held.items())


class Killed(Exception):
    pass


def config(data, output, *more):
    one = [
        *more,
        f"records={data}",
        f"output={output}",
        "warmup=null",
        "bf16=false",
        "stages=[{name: only, steps: 6, batch: 2, lr: 1.0e-3, mixture: {stage1: 1, stage2: 1}, save_every: 2}]",
    ]
    return load_config(SMOKE, one)


def test_a_killed_run_resumes_to_the_same_weights(data, tmp_path, monkeypatch):
    unbroken = stages.run(config(data, tmp_path / "a"))
    step = RatingTrainer.training_step

    def dies(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise Killed
        return step(self, *args, **kwargs)

    monkeypatch.setattr(RatingTrainer, "training_step", dies)
    with pytest.raises(Killed):
        stages.run(config(data, tmp_path / "b"))
    monkeypatch.setattr(RatingTrainer, "training_step", step)
    resumed = stages.run(config(data, tmp_path / "b"))
    a, _ = stages.reopened(unbroken)
    b, _ = stages.reopened(resumed)
    for (name, x), (_, y) in zip(a.model.named_parameters(), b.model.named_parameters(), strict=True):
        assert torch.allclose(x, y, atol=1e-6), name


def test_unknown_key_names_the_nearest(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(SMOKE.read_text().replace("val_clips", "val_clip"))
    with pytest.raises(ConfigError, match=r"did you mean 'val_clips'"):
        load_config(path)


def test_override_at_no_such_place_is_refused():
    with pytest.raises(ConfigError, match="--set"):
        load_config(SMOKE, ["stages.9.steps=3"])


def test_records_without_a_training_split_are_refused(tmp_path):
    (tmp_path / "r.jsonl").write_text("")
    with pytest.raises(ConfigError, match="split 'train'"):
        stages.run(load_config(SMOKE, [f"records={tmp_path / 'r.jsonl'}", f"output={tmp_path}"]))


def test_published_checkpoint_is_bf16_and_gives_the_same_logits(tmp_path):
    from safetensors.torch import load_file

    from mllm_avqa.model.prompting import Branch
    from mllm_avqa.model.rows import collate
    from mllm_avqa.model.views import Views
    from mllm_avqa.schema.records import Record
    from mllm_avqa.schema.text import TextContext
    from train.cache import CachedWindow
    from train.config import Size
    from train.data import make_row
    from train.export import publish
    from train.nano.tiny import build
    from train.questions import Sample
    from train.saving import save

    model, tokenizer = build(["a b c"], Size(vocab=300, llm=(64, 1), vision=(64, 1), audio=(64, 1), heads=2))
    card = Card(name="x", family="qwen2_5_omni")
    save(model.to(torch.bfloat16), tokenizer, card, tmp_path / "stage")
    publish(tmp_path / "stage", tmp_path / "out")
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}
    record = Record(id="r", media="r.mp4", dataset="d", group="g")
    logits = []
    for folder in ("stage", "out"):
        b, _ = stages.reopened(tmp_path / folder)
        window = CachedWindow(Views(None, None, None), [], TextContext(), {})
        row = make_row(b, Sample(record, window, [Branch("video", "Why?")], "en"), card)
        with torch.inference_mode():
            logits.append(b.head()(b.hidden(collate([row], 0)).last_hidden_state))
    assert torch.equal(logits[0], logits[1])


def test_a_published_language_model_is_averaged_with_an_earlier_one(tmp_path):
    from safetensors.torch import load_file

    from train.config import Size
    from train.export import publish
    from train.nano.tiny import build
    from train.saving import save

    for k, name in enumerate(("earlier", "stage", "wider")):
        torch.manual_seed(k)
        model, tokenizer = build(
            ["a b c"], Size(vocab=300, llm=(64 if k < 2 else 128, 1), vision=(64, 1), audio=(64, 1), heads=2)
        )
        save(model, tokenizer, Card(name=name, family="qwen2_5_omni"), tmp_path / name)
    publish(tmp_path / "stage", tmp_path / "out", tmp_path / "earlier", 0.25)
    one, two, out = (load_file(tmp_path / n / "model.safetensors") for n in ("earlier", "stage", "out"))
    for name, got in out.items():
        tower = "visual" in name or "audio_tower" in name
        want = two[name].float() if tower else 0.75 * two[name].float() + 0.25 * one[name].float()
        assert torch.allclose(got.float(), want, atol=1e-3, rtol=1e-2), name
    assert Card.load(tmp_path / "out").training["averaged"] == {"earlier": 0.25}
    with pytest.raises(CheckpointError, match="wider is no earlier state"):
        publish(tmp_path / "stage", tmp_path / "out", tmp_path / "wider", 0.25)
