"""LoRA on a backbone: which modules, and nothing else. Training and tests build the configuration here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    from mllm_avqa.model.backbones.base import Backbone

EMBEDDING = "embed_tokens"  # the module of the word embeddings, in every family


def lora_config(
    backbone: Backbone, r: int, alpha: int, dropout: float = 0.0, experts: bool = False, tokens: bool = False
) -> Any:
    """`peft.LoraConfig`: low rank on `lora_targets`, `projectors` trained in full beside it, the rest frozen.

    experts: adapt `lora_parameters` (the experts of a mixture) as well. Off by default: peft adds the low-rank product
    to the whole weight of all experts in every forward, and each expert has factors of its own.
    tokens: train the embeddings of the tokenizer's added tokens as well: a base has never seen those that are new.
    Raises ConfigError where the backbone has no experts, or with dropout, which peft cannot apply to them.
    """
    from peft import LoraConfig

    if experts and not backbone.lora_parameters:
        raise ConfigError("lora.experts: this backbone has no experts")
    if experts and dropout:
        raise ConfigError(f"lora.dropout is {dropout}: experts can only be adapted with 0")
    return LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        task_type="CAUSAL_LM",
        target_modules=backbone.lora_targets,
        target_parameters=list(backbone.lora_parameters) if experts else None,
        modules_to_save=list(backbone.projectors),
        trainable_token_indices={EMBEDDING: sorted(backbone.tokenizer.added_tokens_decoder)} if tokens else None,
    )
