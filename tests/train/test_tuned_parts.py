"""Which parameters a stage trains, how fast, and what an adapter must hold for it."""

import pytest
import torch

from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from train.config import PARTS, Stage
from train.parts import checkpointed, counts, part_of, select, set_rates


def stage(llm="frozen", vision="frozen", audio="frozen", projectors="frozen", **more):
    plan = {"llm": llm, "vision": vision, "audio": audio, "projectors": projectors}
    parts = {k: v if isinstance(v, dict) else {"tune": v} for k, v in plan.items()}
    return Stage.model_validate({"name": "s", "steps": 1, "lr": 1e-3, "parts": parts, **more})


@pytest.fixture
def backbone(tiny_dir):
    return load_backbone(tiny_dir, Card.load(tiny_dir), torch.float32)


def trained(backbone):
    return {part_of(n, backbone) for n, p in backbone.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("part", PARTS)
def test_one_part_in_full_trains_that_part_and_nothing_else(backbone, part):
    select(backbone, stage(**{part: "full"}))
    assert trained(backbone) == {part}
    size = counts(backbone)
    assert size[part]["trained"] > 0.9 * size[part]["all"]
    assert sum(s["all"] for s in size.values()) == sum(p.numel() for p in backbone.model.parameters())


def test_projectors_lie_inside_the_towers_and_are_told_from_them(backbone):
    assert part_of("model.visual.merger.mlp.0.weight", backbone) == "projectors"
    assert part_of("model.visual.blocks.0.attn.proj.weight", backbone) == "vision"
    assert part_of("model.audio_tower.proj.bias", backbone) == "projectors"
    assert part_of("model.audio_tower.layers.0.fc1.weight", backbone) == "audio"
    assert part_of("base_model.model.lm_head.weight", backbone) == "llm"


def test_low_rank_on_towers_as_well(backbone):
    select(backbone, stage("lora", "lora", "lora", "full", lora={"r": 2}))
    assert trained(backbone) == set(PARTS)
    names = [n for n, p in backbone.model.named_parameters() if p.requires_grad]
    assert all("lora_" in n or "modules_to_save" in n for n in names)
    assert not any("lora_" in n and part_of(n, backbone) == "projectors" for n in names)
    size = counts(backbone)  # analytic: q, k, v, o, gate, up, down of 2 layers, rank x (in + out)
    linear = [(64, 64), (64, 64), (64, 64), (64, 64), (64, 160), (64, 160), (160, 64)]
    assert size["llm"]["trained"] == 2 * 2 * sum(a + b for a, b in linear)


def test_embeddings_of_added_tokens_are_trained_where_asked(backbone):
    """Their rows alone, of head and embedding together, which share their weights."""
    select(backbone, stage("lora", projectors="full", lora={"r": 2, "tokens": True}))
    ((name, delta),) = [(n, p) for n, p in backbone.model.named_parameters() if "trainable_tokens" in n]
    assert part_of(name, backbone) == "llm"
    assert (delta.requires_grad, len(delta)) == (True, len(backbone.tokenizer.added_tokens_decoder))
    select(backbone, stage("lora", projectors="full", lora={"r": 2}))
    assert delta.requires_grad  # a later stage trains them on
    select(backbone, stage(projectors="full"))
    assert not delta.requires_grad


def test_a_tower_alone_takes_an_adapter_without_projectors(backbone):
    select(backbone, stage(vision="lora"))
    assert trained(backbone) == {"vision"}


def test_an_adapter_is_trained_on_or_merged(backbone):
    select(backbone, stage("lora", projectors="full", lora={"r": 2}))
    with torch.no_grad():
        for n, p in backbone.model.named_parameters():
            if "lora_B" in n:
                p.fill_(0.1)
    with pytest.raises(ConfigError, match=r"holds no vision .*`adapter: merge`"):
        select(backbone, stage("lora", "lora", projectors="full"))
    with pytest.raises(ConfigError, match=r"lora\.r is 4, the adapter it starts from has 2"):
        select(backbone, stage("lora", lora={"r": 4}))
    select(backbone, stage(projectors="full"))  # the same adapter, its factors at rest
    assert trained(backbone) == {"projectors"}
    assert hasattr(backbone.model, "peft_config")
    ids = torch.tensor([[1, 2, 3]])
    before = backbone.model(input_ids=ids).logits
    select(backbone, stage("lora", "lora", adapter="merge", lora={"r": 3}))
    assert trained(backbone) == {"llm", "vision"}
    assert torch.allclose(backbone.model(input_ids=ids).logits, before, atol=1e-4)  # the new factors start at zero


def test_nothing_to_train_is_refused(backbone):
    with pytest.raises(ConfigError, match="stage s trains no parameter"):
        select(backbone, stage())


def test_every_part_has_its_rate(backbone):
    plan = stage("full", vision={"tune": "full", "lr": 2e-5}, projectors={"tune": "full", "lr": 1e-4})
    select(backbone, plan)
    model = backbone.model
    optimizer = torch.optim.AdamW([{"params": [p for p in model.parameters() if p.requires_grad], "weight_decay": 0.5}])
    set_rates(optimizer, backbone, plan)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    wanted = {"llm": 1e-3, "vision": 2e-5, "projectors": 1e-4}
    for n, p in model.named_parameters():
        assert rates.get(id(p)) == (wanted[part_of(n, backbone)] if p.requires_grad else None), n
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.5}


def test_checkpointing_gives_the_same_gradients(backbone):
    select(backbone, stage("lora", lora={"r": 2}))
    ids = torch.tensor([[1, 2, 3, 4]])

    def gradient():
        backbone.model.zero_grad()
        backbone.model.train()
        backbone.model(input_ids=ids, use_cache=False).logits.square().mean().backward()
        return torch.cat([p.grad.flatten() for p in backbone.model.parameters() if p.grad is not None])

    plain = gradient()
    calls = []
    checkpointed(backbone)
    layer = backbone.core.model.language_model.layers[0]
    layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
    assert torch.allclose(gradient(), plain, atol=1e-7)
    assert len(calls) == 2  # forward, and again in the backward pass
