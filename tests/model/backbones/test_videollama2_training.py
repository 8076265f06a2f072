"""Training a VideoLLaMA2-AV: one step of the objective, and LoRA on exactly the named modules."""

import pytest
import torch
from videollama2_samples import directory as directory  # a fixture
from videollama2_samples import make_views, opened

from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.model.scoring import level_token_ids
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.records import Label, Record
from mllm_avqa.schema.text import TextContext

ASPECTS = ["overall", "video", "audio"]


def training_batch(backbone, facts):
    from train.cache import CachedWindow
    from train.config import InputDropout, QuestionMix
    from train.data import Collator
    from train.questions import Drawing

    none = InputDropout(facts=0, views=0, context=0)
    card = Card(name="x", family="videollama2", aspects=ASPECTS, languages=["en"])
    collator = Collator(backbone, card, 0, Drawing(QuestionMix(stage2=1), none))
    items = []
    for k, mean in enumerate((1.5, 4.5)):
        record = Record(
            id=str(k), media="a.mp4", dataset="d", group=str(k), labels={a: Label(mean=mean) for a in ASPECTS}
        )
        items.append({"record": record, "window": CachedWindow(make_views(k), facts, TextContext(), {})})
    return collator(items)


def test_one_step_reaches_every_part_that_is_read(directory, facts):
    from train.config import Weights
    from train.objective import Objective

    backbone = opened(directory)
    for name, p in backbone.model.named_parameters():
        p.requires_grad_(not any(f in name for f in backbone.frozen))
    objective = Objective(backbone, level_token_ids(backbone, ASPECTS), Weights())
    given = training_batch(backbone, facts)
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=1e-3)
    first = objective(**given)["loss"]
    first.backward()
    still = {
        n for n, p in backbone.model.named_parameters() if p.requires_grad and not (p.grad is not None and p.grad.any())
    }
    assert all("k_proj.bias" in n for n in still)  # softmax does not feel a constant added to every key
    optimizer.step()
    assert objective(**given)["loss"] < first


def test_lora_wraps_the_language_model_and_the_projectors_and_comes_back(directory, facts, tmp_path):
    from peft import get_peft_model

    backbone = opened(directory)
    backbone.model = get_peft_model(backbone.model, lora_config(backbone, 4, 8))
    trained = [
        n.removeprefix("base_model.model.model.") for n, p in backbone.model.named_parameters() if p.requires_grad
    ]
    low = {n.split(".lora_")[0] for n in trained if "lora_" in n}
    kinds = [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    assert low == {f"language_model.layers.{i}.{k}" for i in (0, 1) for k in kinds}
    full = {n.split(".modules_to_save")[0] for n in trained if "lora_" not in n}
    assert full == {"visual.connector", "audio_tower.proj"}

    given = training_batch(backbone, facts)["inputs"]
    with torch.no_grad():
        for n, p in backbone.model.named_parameters():
            if "lora_B" in n or (p.requires_grad and n.endswith("bias")):
                p.add_(0.1)
        changed = backbone.hidden(given).last_hidden_state
    backbone.model.save_pretrained(tmp_path)
    card = Card.load(directory)
    card.base_model = str(directory)
    card.training = {"stage": {"tune": "lora"}}
    card.save(tmp_path)
    with torch.no_grad():
        assert (opened(tmp_path).hidden(given).last_hidden_state - changed).abs().max() < 1e-5
        assert (opened(directory).hidden(given).last_hidden_state - changed).abs().max() > 1e-2


def test_an_adapter_is_exported_merged_under_the_published_names(directory, facts, tmp_path, monkeypatch):
    """The scores of the window before and after, in fp32, 1e-4."""
    from peft import get_peft_model
    from safetensors.torch import load_file

    from mllm_avqa.schema.clip import MediaInfo
    from mllm_avqa.windows import Prepared
    from train import export as exporting

    backbone = opened(directory)
    model = get_peft_model(backbone.model, lora_config(backbone, 4, 8))
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * 0.05)
    model.save_pretrained(tmp_path / "adapter")
    card = Card.load(directory).model_copy(update={"base_model": str(directory), "training": {"s": {}}})
    card.save(tmp_path / "adapter")
    missing = {"text": "no captions", "sync": "none"}
    window = Prepared(0.0, 1.0, MediaInfo.model_construct(), make_views(), facts, TextContext(), missing)
    monkeypatch.setattr(exporting, "_window", lambda clip, card: window)
    report = exporting.export(tmp_path / "adapter", tmp_path / "out", "clip.mp4", "float32")
    before, after = report["example"]["before"], report["example"]["after"]
    assert set(before) == set(ASPECTS)
    assert after == pytest.approx(before, abs=1e-4)
    assert report["aspects_for_stock_code"] == []
    base, merged = (load_file(d / "model.safetensors") for d in (directory, tmp_path / "out"))
    assert merged.keys() == base.keys()
    changed = {k for k in base if not torch.equal(base[k], merged[k])}
    assert {"model.layers.0.mlp.up_proj.weight", "model.mm_projector.readout.2.bias"} <= changed
    assert not any("vision_tower" in k for k in changed)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "--checkpoint" in readme and "$" not in readme
    assert opened(tmp_path / "out").model is not None
