"""Configuration of the network, and how a published one (flat, `mm_*` keys) is read into it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, Qwen2Config, SiglipVisionConfig
from transformers.configuration_utils import SubConfigSpec

# config.json of google/siglip-so400m-patch14-384: a published checkpoint only names its vision tower
SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
TOWERS = {"siglip-so400m-patch14-384": SO400M}
# What this code implements; a checkpoint that says otherwise is refused. (key, value)
REQUIRED = (("mm_projector_type", "stc_connector_v35"), ("mm_projector_a_type", "mlp2x_gelu"))


@strict
class BeatsConfig(PreTrainedConfig):
    """BEATs_iter3+. `pad_seconds`: shorter sound is filled up with silence, as the published model hears it."""

    model_type = "beats"
    base_config_key = "audio_config"

    embed_dim: int = 512
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    patch_size: int = 16
    conv_kernel: int = 128
    conv_groups: int = 16
    num_buckets: int = 320
    max_distance: int = 800
    pad_seconds: float = 30.0


@strict
class VideoLlama2Config(PreTrainedConfig):
    """`select_layer`: index into the vision tower's hidden states, the first of which is its embedding."""

    model_type = "videollama2_qwen2"
    sub_configs_defaults = {  # noqa: RUF012 (declared as ClassVar in the base class)
        "text_config": SubConfigSpec(Qwen2Config),
        "vision_config": SubConfigSpec(SiglipVisionConfig),
        "audio_config": SubConfigSpec(BeatsConfig),
    }

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    audio_config: dict[str, Any] | PreTrainedConfig | None = None
    select_layer: int = -2
    tie_word_embeddings: bool = False

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Also takes a published config.json. Raises ValueError for a variant that this code does not implement."""
        return super().from_dict(config_dict if "text_config" in config_dict else nested(config_dict), **kwargs)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """A published configuration in the shape of `VideoLlama2Config`."""
    tower = str(flat.get("mm_vision_tower", "")).rstrip("/").rsplit("/", 1)[-1]
    if tower not in TOWERS:
        raise ValueError(f"mm_vision_tower {tower!r} is not one of {', '.join(TOWERS)}")
    for key, value in REQUIRED:
        if flat.get(key) != value:
            raise ValueError(f"{key} is {flat.get(key)!r}, only {value!r} is implemented")
    known = {f.name for f in fields(Qwen2Config)} | {"rope_theta"}
    return {
        "model_type": VideoLlama2Config.model_type,
        "text_config": {k: v for k, v in flat.items() if k in known},
        "vision_config": TOWERS[tower],
        "audio_config": {},
        "select_layer": flat.get("mm_vision_select_layer", -2),
        "tie_word_embeddings": flat.get("tie_word_embeddings", False),
    }
