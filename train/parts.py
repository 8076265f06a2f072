"""Which parameters a stage trains and how fast, by part of the model: language model, towers, projectors."""

from __future__ import annotations

import re
from typing import Any

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.backbones.lora import lora_config
from mllm_avqa.schema.errors import ConfigError
from train.config import PARTS, Stage


def part_of(name: str, backbone: Backbone) -> str:
    """The part (`PARTS`) a module or parameter name belongs to; embeddings and head count to the language model."""
    name += "."
    if any(f"{p}." in name for p in backbone.projectors):
        return "projectors"
    for tower, part in zip(backbone.towers, ("vision", "audio"), strict=True):
        if tower in name:
            return part
    return "llm"


def select(backbone: Backbone, stage: Stage) -> None:
    """Put an adapter on, keep or merge it, and set `requires_grad` as `stage.plan` says.

    Parameters that never get a gradient (`Backbone.frozen`) stay frozen. Raises ConfigError when nothing is trained,
    or when the adapter that is there cannot train what the stage asks for.
    """
    tunes = {name: getattr(stage.plan, name).tune for name in PARTS}
    low = [p for p in PARTS if tunes[p] == "lora"]
    adapter = hasattr(backbone.model, "peft_config")
    if adapter and (stage.adapter == "merge" or any(tunes[p] == "full" for p in PARTS[:3])):
        backbone.model = backbone.model.merge_and_unload()
        adapter = False
    if low and not adapter:
        _add_adapter(backbone, stage, low, tunes["projectors"] == "full")
        adapter = True
    elif adapter:
        _check_adapter(backbone, stage, tunes)
    trained = 0
    for name, p in backbone.model.named_parameters():
        how = tunes[part_of(name, backbone)]
        if adapter:
            low_rank = "lora_" in name or "trainable_tokens" in name
            wanted = how == "lora" if low_rank else how == "full" and "modules_to_save" in name
        else:
            wanted = how == "full"
        p.requires_grad_(wanted and not any(f in name for f in backbone.frozen))
        trained += p.requires_grad
    if not trained:
        raise ConfigError(f"stage {stage.name} trains no parameter: {tunes} (`parts`, `tune`, `freeze_towers`)")


def checkpointed(backbone: Backbone) -> None:
    """Compute the layers' activations again in the backward pass (arXiv 1604.06174): less memory, a third more time."""
    model = backbone.model.get_base_model() if hasattr(backbone.model, "peft_config") else backbone.model
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def counts(backbone: Backbone) -> dict[str, dict[str, int]]:
    """Number of parameters by part, as {"trained": .., "all": ..}."""
    out = {part: {"trained": 0, "all": 0} for part in PARTS}
    for name, p in backbone.model.named_parameters():
        if "original_module" in name:  # peft keeps the untrained copy of what it trains in full
            continue
        part = out[part_of(name, backbone)]
        part["all"] += p.numel()
        part["trained"] += p.numel() * p.requires_grad
    return out


def set_rates(optimizer: Any, backbone: Backbone, stage: Stage) -> None:
    """Split the optimizer's groups by part, each with its own learning rate. Before the first step only."""
    rates = {name: getattr(stage.plan, name).lr or stage.lr for name in PARTS}
    if len(set(rates.values())) == 1 and stage.lr in rates.values():
        return
    part = {id(p): part_of(n, backbone) for n, p in backbone.model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        for name in PARTS:
            inside = [p for p in group["params"] if part[id(p)] == name]
            if inside:
                groups.append({**group, "params": inside, "lr": rates[name], "name": name})
    optimizer.param_groups[:] = groups


def tuned(stage: Stage) -> str:
    """The plan in a line, for the card: "llm lora, vision frozen, ..."."""
    return ", ".join(f"{name} {getattr(stage.plan, name).tune}" for name in PARTS)


def _add_adapter(backbone: Backbone, stage: Stage, low: list[str], projectors: bool) -> None:
    from peft import get_peft_model

    options = stage.lora
    config = lora_config(backbone, options.r, options.alpha, options.dropout, options.experts, options.tokens)
    if low != ["llm"]:
        targets = _linear_layers(backbone, [p for p in low if p != "llm"])
        if "llm" in low:
            targets += _named(backbone)
        config.target_modules = set(targets)
    if not projectors:
        config.modules_to_save = None
    backbone.model = get_peft_model(backbone.model, config)
    found = {part_of(n, backbone) for n, _ in backbone.model.named_parameters() if "lora_" in n}
    if missing := [p for p in low if p not in found]:
        raise ConfigError(f"LoRA matched no module of {', '.join(missing)}: the backbone's `lora_targets` are outdated")


def _named(backbone: Backbone) -> list[str]:
    """The language model's targets by name."""
    targets = backbone.lora_targets
    if not isinstance(targets, str):
        return list(targets)
    return [n for n, _ in backbone.model.named_modules() if re.fullmatch(targets, n)]


def _linear_layers(backbone: Backbone, parts: list[str]) -> list[str]:
    from torch import nn

    return [n for n, m in backbone.model.named_modules() if isinstance(m, nn.Linear) and part_of(n, backbone) in parts]


def _check_adapter(backbone: Backbone, stage: Stage, tunes: dict[str, str]) -> None:
    """The adapter that is trained on must hold what the stage trains, at the rank it names."""
    names = [n for n, _ in backbone.model.named_parameters()]
    held = {part_of(n, backbone) for n in names if "lora_" in n or "modules_to_save" in n}
    missing = [p for p in PARTS if tunes[p] != "frozen" and p not in held]
    if missing:
        raise ConfigError(
            f"stage {stage.name}: the adapter it starts from holds no {', '.join(missing)} "
            "(`adapter: merge` starts a new one)"
        )
    rank = next(iter(backbone.model.peft_config.values())).r
    if "r" in stage.lora.model_fields_set and stage.lora.r != rank:
        raise ConfigError(
            f"stage {stage.name}: lora.r is {stage.lora.r}, the adapter it starts from has {rank} "
            "(`adapter: merge` starts a new one)"
        )
