"""Training a mixture: one step of the objective, and LoRA on exactly the named modules."""

import pytest
import torch
from qwen3_samples import open_qwen3, wide_views

from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.model.scoring import level_token_ids
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Record
from mllm_avqa.schema.text import TextContext
from train.cache import CachedWindow
from train.config import InputDropout, QuestionMix, Weights
from train.data import Collator
from train.objective import Objective
from train.questions import Drawing

ATTENTION = [f"language_model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in "qkvo"]
EXPERTS = [f"language_model.layers.{n}.mlp.experts" for n in (0, 1)]
PROJECTORS = ["visual.merger", "visual.merger_list.0", "audio_tower.proj1", "audio_tower.proj2"]


def batch(backbone, facts):
    none = InputDropout(facts=0, views=0, context=0)
    card = Card(name="x", family="qwen3_omni", aspects=["overall", "video", "audio"], languages=["en"])
    collate = Collator(backbone, card, 0, Drawing(QuestionMix(stage2=1), none))
    items = []
    for k, mean in enumerate((1.5, 4.5)):
        labels = {a: Label(mean=mean) for a in ("overall", "video", "audio")}
        record = Record(id=str(k), media="a.mp4", dataset="d", group=str(k), labels=labels)
        items.append({"record": record, "window": CachedWindow(wide_views(k), facts, TextContext(), {})})
    return collate(items)


def logits(backbone, given):
    backbone.model.eval()
    with torch.no_grad():
        return backbone.head()(backbone.hidden(given["inputs"]).last_hidden_state)


def wrapped(model):
    """Names (below the thinker) of the modules with low-rank factors, and of those trained in full."""
    short = [n.removeprefix("base_model.model.model.") for n, _ in model.named_parameters()]
    low = {n.split(".lora_")[0].removesuffix(".base_layer") for n in short if "lora_" in n}
    return sorted(low), sorted({n.split(".modules_to_save")[0] for n in short if "modules_to_save" in n})


def test_one_step_of_the_objective_reaches_every_part_but_the_router(qwen3_dir, facts):
    backbone = open_qwen3(qwen3_dir)
    for name, p in backbone.model.named_parameters():
        p.requires_grad_(not any(f in name for f in backbone.frozen))
    objective = Objective(backbone, level_token_ids(backbone, ["overall", "video", "audio"]), Weights())
    given = batch(backbone, facts)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    first = objective(**given)
    assert {"answer", "kl", "mass", "rank"} < set(first)
    first["loss"].backward()
    still = {n for n, p in backbone.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    routers = {n for n, _ in backbone.model.named_parameters() if n.endswith("mlp.gate.weight")}
    assert len(routers) == 2
    assert routers <= still
    assert all("k_proj.bias" in n for n in still - routers)  # softmax does not feel a constant added to every key
    optimizer.step()
    assert objective(**given)["loss"] < first["loss"]


@pytest.mark.parametrize("experts", [False, True])
def test_lora_wraps_exactly_the_named_modules_and_comes_back(qwen3_dir, facts, tmp_path, experts):
    from peft import get_peft_model
    from safetensors.torch import load_file

    backbone = open_qwen3(qwen3_dir)
    backbone.model = get_peft_model(backbone.model, lora_config(backbone, 4, 8, experts=experts))
    low, full = wrapped(backbone.model)
    assert low == sorted(ATTENTION + EXPERTS * experts)
    assert full == sorted(PROJECTORS)
    trained = {n for n, p in backbone.model.named_parameters() if p.requires_grad}
    assert all("lora_" in n or "modules_to_save" in n for n in trained)

    given = batch(backbone, facts)
    objective = Objective(backbone, level_token_ids(backbone, ["overall", "video", "audio"]), Weights())
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):  # the first step can only move B away from zero
        optimizer.zero_grad()
        objective(**given)["loss"].backward()
        optimizer.step()
    backbone.model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    factors = {k: v for k, v in stored.items() if "lora_B" in k}
    assert len(factors) == 8 + 4 * experts
    assert all(v.abs().max() > 0 for v in factors.values())
    assert any("merger_list.0" in k for k in stored)

    card = Card.load(qwen3_dir)
    card.base_model = str(qwen3_dir)
    card.training = {"stage": {"tune": "lora"}}
    card.save(tmp_path)
    trained_logits = logits(backbone, given)
    assert (logits(open_qwen3(tmp_path), given) - trained_logits).abs().max() < 1e-6
    assert (logits(open_qwen3(qwen3_dir), given) - trained_logits).abs().max() > 1e-3
    merged = backbone.model.merge_and_unload()
    backbone.model = merged
    assert (logits(backbone, given) - trained_logits).abs().max() < 1e-5


def test_experts_are_refused_where_they_cannot_be_adapted(qwen3, tiny):
    with pytest.raises(ConfigError, match=r"lora.dropout is 0.1: experts can only be adapted with 0"):
        lora_config(qwen3, 4, 8, dropout=0.1, experts=True)
    with pytest.raises(ConfigError, match="no experts"):
        lora_config(tiny, 4, 8, experts=True)
    assert lora_config(tiny, 4, 8).target_parameters is None
