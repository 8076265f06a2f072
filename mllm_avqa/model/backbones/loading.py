"""How weights get into memory, for every family: where they lie, dtype, placement, 4-bit, adapter."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mllm_avqa.model.backbones import attention
from mllm_avqa.model.weights import header, locate, pickled_files
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError

log = logging.getLogger(__name__)
# Never 4-bit: faults are seen by the towers, scores are read off the head.
KEPT = ("model.visual", "model.audio_tower", "lm_head")


@dataclass(frozen=True)
class LoadOptions:
    """What a user may choose when loading; everything else is in the card."""

    dtype: torch.dtype = torch.float32  # of the weights; with four_bit also of the arithmetic
    device_map: str | dict[str, Any] | None = None  # "auto", "cuda:0", {module: device}; None leaves all on the CPU
    four_bit: bool = False  # linear layers of the language model as NF4 (QLoRA, arXiv 2305.14314)
    allow_pickle: bool = False  # weights that are no safetensors: unpickling them is safe only as far as torch makes it
    # The adapter becomes part of the weights: as fast as without, and nothing left to train. Never into 4-bit weights.
    merged: bool = False
    empty: bool = False  # no weights: the model runs elsewhere, here are its tokens and the shapes of its inputs


def load_weights(model_class: Any, directory: Path, card: Card, options: LoadOptions) -> Any:
    """The model of a checkpoint, its adapter applied. `model_class` is a class of transformers.

    A directory without weights or adapter, whose card names a base and no training, is that base untouched.
    Raises CheckpointError (missing files, adapter or revision) and ConfigError (an option needs a missing library).
    """
    base, revision = locate(directory, card)
    if options.empty:
        with torch.device("meta"):
            return model_class(model_class.config_class.from_pretrained(base, revision=revision or "main"))
    adapter = (directory / "adapter_config.json").is_file()
    if card.base_model is not None and card.training and not adapter:
        raise CheckpointError(f"{directory} was trained on {card.base_model} but holds no adapter (--checkpoint)")
    for folder in {directory, directory if revision else Path(base)}:
        _check_files(folder, options.allow_pickle)
    arguments: dict[str, Any] = {
        "dtype": options.dtype,
        "attn_implementation": attention.register(),  # rows bring a 4-D mask
        "trust_remote_code": False,  # None would ask on standard input
        "use_safetensors": None if options.allow_pickle else True,
    }
    if revision:
        arguments["revision"] = revision
    if options.device_map is not None:
        _need("accelerate", "placing a model over devices (device_map)", "pip install accelerate")
        arguments["device_map"] = options.device_map
    if options.four_bit:
        arguments["quantization_config"] = _four_bit(options.dtype)
    if not revision:
        _check_size(model_class, Path(base))
    model = model_class.from_pretrained(base, **arguments)
    if options.four_bit:
        check_widths(model)
        _report_share(model, card.name)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(directory))
        if options.merged and not options.four_bit:
            model = model.merge_and_unload()
    return model


def _check_files(folder: Path, allow_pickle: bool) -> None:
    """Weights are data and lie in their folder: raises CheckpointError for what would run or load anything else."""
    pickled = pickled_files(folder)
    if pickled and not allow_pickle:
        raise CheckpointError(
            f"{pickled[0]}: pickled weights can hold code; give safetensors, or --allow-pickle where you trust them"
        )
    for path in pickled:
        log.warning("%s: pickled weights are loaded (--allow-pickle)", path)
    named = _json(folder / "config.json").get("transformers_weights")
    for index in folder.glob("*.index.json"):
        weights = _json(index).get("weight_map")
        elsewhere = [w for w in weights.values() if not _beside(w)] if isinstance(weights, dict) else [weights]
        if elsewhere:
            raise CheckpointError(f"{index}: weights must lie beside it, not in {str(elsewhere[0])[:80]!r}")
    if named is not None and not _beside(named):
        raise CheckpointError(f"{folder / 'config.json'}: weights must lie beside it, not in {str(named)[:80]!r}")
    if _json(folder / "adapter_config.json").get("megatron_config"):  # older versions of peft import what it names
        raise CheckpointError(f"{folder / 'adapter_config.json'}: megatron_config is not supported")


def _check_size(model_class: Any, folder: Path) -> None:
    """Weights that are missing would be drawn at random, in the size that config.json asks for: up to all memory.

    Raises CheckpointError where it asks for more than twice what the weight files hold.
    """
    from transformers.integrations import is_deepspeed_zero3_enabled

    files = list(folder.glob("model*.safetensors"))
    if (
        not files or is_deepspeed_zero3_enabled()
    ):  # ZeRO-3 shards every module as it is made: none can be made for a look
        return
    try:
        held = sum(math.prod(tensor["shape"]) for f in files for tensor in header(f).values())
        with torch.device("meta"):
            model = model_class(model_class.config_class.from_pretrained(str(folder)))
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as e:
        raise CheckpointError(f"{folder}: config.json and weights do not make a model ({type(e).__name__})") from e
    asked = sum(p.numel() for p in model.parameters())
    if asked > 2 * held:
        raise CheckpointError(
            f"{folder / 'config.json'} asks for {asked / 1e6:.1f} M parameters, the weights beside it hold "
            f"{held / 1e6:.1f} M (--checkpoint)"
        )


def _beside(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint; empty when there is none. Raises CheckpointError for anything else."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"{path}: not JSON ({type(e).__name__})") from e
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return data


def place(model: Any, device: str | torch.device) -> Any:
    """Move a model, unless `device_map` or 4-bit loading has given it its place."""
    placed = getattr(model, "hf_device_map", None) or getattr(model, "is_loaded_in_4bit", False)
    return model if placed else model.to(device)


def _four_bit(dtype: torch.dtype) -> Any:
    _need("bitsandbytes", "4-bit loading", "pip install 'mllm-avqa[4bit]'")
    _need("accelerate", "4-bit loading", "pip install accelerate")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(KEPT),
    )


def _need(library: str, purpose: str, remedy: str) -> None:
    if find_spec(library) is None:
        raise ConfigError(f"{purpose} needs {library}, which is not installed: {remedy}")


def check_widths(model: Any) -> None:
    """Raises ConfigError for 4-bit layers at which the kernel of a CPU would stop in the middle of a clip."""
    for name, m in model.named_modules():
        if type(m).__name__ != "Linear4bit" or m.weight.device.type != "cpu":
            continue
        if getattr(m, "support_avx512bf16_for_cpu", False) and (m.in_features % 64 or m.out_features % 32):
            raise ConfigError(
                f"--four-bit on a CPU: {name} makes {m.out_features} values of {m.in_features}; bitsandbytes' kernel "
                "takes multiples of 64 and makes multiples of 32. Leave --four-bit out, or use a GPU (--device cuda)"
            )


def _report_share(model: Any, name: str) -> None:
    """Experts of a mixture are 3-D parameters, which stay as they are: say how much became 4-bit."""
    four_bit = other = 0
    for p in model.parameters():
        if type(p).__name__ == "Params4bit":
            four_bit += p.numel() * p.element_size() * 2  # two weights in a byte
        else:
            other += p.numel()
    share = four_bit / max(1, four_bit + other)
    log.log(logging.INFO if share > 0.5 else logging.WARNING, "%s: %.0f %% of the weights are 4-bit", name, 100 * share)
