"""Checkpoints: found by their name, told apart by their weights, opened in the precision and place the user wants."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllm_avqa.bases import fetch
from mllm_avqa.model import hub
from mllm_avqa.model.weights import kept, weight_bytes, weights_hash
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import AvqaError, CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch

    from mllm_avqa.model.backbones.base import Backbone

log = logging.getLogger(__name__)
DTYPES = ("float32", "bfloat16", "float16")
AUTO = "auto"  # float32 for small models; bfloat16 for others, where the processor multiplies it
LARGE = 100_000_000  # bytes of weights; below, float32 takes no time worth saving
EMBEDDED = ("nano", "mini")  # checkpoints of the package


def resolve_checkpoint(name: str, flag: str = "--checkpoint") -> Path:
    """Directory of a checkpoint: of the package by name, of a hub as ORG/NAME@REVISION, anything else is a path.

    flag: how the user named it. Raises CheckpointError.
    """
    if hub.named(name):
        return hub.fetched(name, flag)
    own = Path(__file__).parents[1] / name
    directory = own if name in EMBEDDED and own.is_dir() else Path(name).expanduser()
    if not directory.is_dir():
        raise CheckpointError(
            f"checkpoint {name!r} is neither 'nano' nor a directory with an avqa.yaml nor ORG/NAME of a hub ({flag})"
        )
    return directory


def open_checkpoint(
    name: str,
    *,
    dtype: torch.dtype | str = "float32",
    device: str | None = None,
    device_map: str | dict[str, Any] | None = None,
    four_bit: bool = False,
    allow_pickle: bool = False,
) -> tuple[Backbone, Card, str]:
    """Backbone ready for inference, card, and a name of the weights as they lie in memory.

    dtype: a torch dtype or its name, see `DTYPES`, or "auto"; device: "cpu", "cuda:0" ..., by default an accelerator if
    there is one; device_map: "auto" or {module: device} for a model that one device cannot hold; four_bit,
    allow_pickle: see `LoadOptions`. A base that is kept in the cache is fetched when it is not there yet.
    Weights in float32 are named by `weights_hash` alone; others score a little differently and are named so.
    Raises CheckpointError (unknown name, unreadable directory) and ConfigError (dtype, device, missing library).
    """
    from mllm_avqa.model.backbones import load_backbone
    from mllm_avqa.model.backbones.loading import place

    directory = resolve_checkpoint(name)
    card = Card.load(directory)
    if kept(card) and card.base_model is not None:
        fetch(card.base_model, lambda line: log.warning("%s", line))
    kind = _dtype(dtype, directory, card, device)
    if device is not None:
        _check_device(device)
        if device_map is not None:
            raise ConfigError(f"device {device!r} and device_map {device_map!r} both place the model: give one")
        device_map = {"": device} if four_bit else None  # 4-bit weights stay where they are made
    try:
        backbone = load_backbone(
            directory, card, kind, device_map=device_map, four_bit=four_bit, allow_pickle=allow_pickle, merged=True
        )
    except AvqaError:
        raise
    except Exception as e:  # whatever a library says to files of strangers
        raise CheckpointError(f"{directory} can not be loaded: {type(e).__name__}: {e} (--checkpoint)") from e
    place(backbone.model, device or _default_device()).eval()
    precision = str(kind).removeprefix("torch.")
    marks = [precision] * (precision != "float32") + ["nf4"] * four_bit
    return backbone, card, "-".join([weights_hash(directory, card), *marks])


def _dtype(given: torch.dtype | str, directory: Path, card: Card, device: str | None) -> torch.dtype:
    import torch

    name = str(given).removeprefix("torch.")
    if name == AUTO:
        large = weight_bytes(directory, card) > LARGE
        name = "bfloat16" if large and fast_bfloat16(device or _default_device()) else "float32"
    if name not in DTYPES:
        raise ConfigError(f"dtype {name!r} is not one of {', '.join((AUTO, *DTYPES))} (--dtype)")
    found: torch.dtype = getattr(torch, name)
    return found


def fast_bfloat16(device: str) -> bool:
    """Whether a device multiplies bfloat16 itself; a processor that does not is three times slower than in float32."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found: bool = device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return found


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_device(device: str) -> None:
    import torch

    allowed = ["cpu"]
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        numbered = [f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count())]
        allowed += [accelerator.type, *numbered]
    if device not in allowed:
        raise ConfigError(f"device {device!r} is not one of {', '.join(allowed)}, which this machine has (--device)")
