"""Checkpoints in the middle of a stage: whole or not there, with all that is needed to go on, refused if of no use.

A checkpoint folder is a checkpoint of the library (weights or adapter, tokenizer, card) with the state of optimizer,
schedule and random numbers beside it. `MARK` is written last, after all ranks have written their part.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError, OutputError
from mllm_avqa.schema.files import whole_file
from train import ranks

log = logging.getLogger(__name__)
MARK = "layout.json"


def layout(trainer: Any) -> dict[str, int]:
    """What a resumed run must share with the one that saved: processes, ZeRO level, rows of an optimizer step."""
    a = trainer.args
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    rows = a.per_device_train_batch_size * a.gradient_accumulation_steps * ranks.world()
    return {"processes": ranks.world(), "zero": plugin.zero_stage if plugin else 0, "rows": rows}


@contextmanager
def whole_checkpoint(directory: Path, shape: dict[str, int]) -> Iterator[None]:
    """The block writes the folder. Raises OutputError, and leaves nothing of it, when the disk does not take it."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as e:  # torch and safetensors dress a full disk up as their own errors
        if not _disk(e):
            raise
        free = shutil.disk_usage(directory.parent).free
        if ranks.rank() == 0:
            shutil.rmtree(directory, ignore_errors=True)
        raise OutputError(
            f"checkpoint {directory} could not be written ({e}; {free / 2**20:.0f} MiB free). Earlier checkpoints are "
            "intact: make room and run the same command again (`output` of the config)"
        ) from e
    ranks.wait()
    if ranks.rank() == 0:
        with whole_file(directory / MARK) as part:
            part.write_text(json.dumps(shape))


def _disk(error: BaseException) -> bool:
    """Whether the operating system refused a write."""
    if isinstance(error, OSError):
        return error.errno is not None
    text = str(error)
    return any(s in text for s in ("No space left", "PytorchStreamWriter failed", "os error", "unexpected pos"))


def last_checkpoint(directory: Path, shape: dict[str, int]) -> Path | None:
    """The newest complete checkpoint of a stage; None when there is none.

    Raises ConfigError when it was saved by another number of processes and cannot be continued by this one: with
    DeepSpeed the optimizer's state is cut up by process; without it the batches must come in the same order.
    """
    found = sorted(directory.glob(f"checkpoint-*/{MARK}"), key=lambda p: int(p.parent.name.split("-")[1]))
    if not found:
        return None
    saved = json.loads(found[-1].read_text(encoding="utf-8"))
    cut = saved["zero"] or shape["zero"]
    keys = [k for k in ("processes", "zero", "rows") if saved[k] != shape[k] and (cut or k == "rows")]
    if keys:
        names = {"processes": "processes", "zero": "as ZeRO level", "rows": "rows in an optimizer step"}
        then, now = (", ".join(f"{s[k]} {names[k]}" for k in keys) for s in (saved, shape))
        raise ConfigError(
            f"{found[-1].parent} was saved with {then}, this run has {now}: start it as before, or continue from its "
            f"weights alone with `init: {found[-1].parent}` and another `output` (--num_processes, `batch`, "
            "`accumulate`, `deepspeed`)"
        )
    return found[-1].parent


def save(model: Any, tokenizer: Any, card: Card, directory: Path) -> None:
    """A checkpoint directory: weights, tokenizer and avqa.yaml."""
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    card.save(directory)


def write_model(trainer: Any, directory: Path) -> None:
    """Weights or adapter, tokenizer and card. Collective: with ZeRO-3 the weights are gathered from all ranks."""
    objective = trainer.trained
    net = objective.backbone.model
    state: dict[str, torch.Tensor] | None = None
    if trainer.is_deepspeed_enabled and trainer.accelerator.state.deepspeed_plugin.zero_stage == 3:
        adapter = hasattr(net, "peft_config")
        state = trainer.deepspeed._zero3_consolidated_16bit_state_dict(exclude_frozen_parameters=adapter)
    if ranks.rank() == 0:
        if state is not None:
            state = {k.removeprefix("net."): v for k, v in state.items()}
            # Read with ZeRO-3, a model remembers renamings that were not needed, and would undo them: wrong names.
            net._weight_conversions = None
        directory.mkdir(parents=True, exist_ok=True)
        net.save_pretrained(directory, state_dict=state)
        objective.backbone.tokenizer.save_pretrained(directory)
        trainer.card.save(directory)
        torch.save(trainer.args, directory / "training_args.bin")
    ranks.wait()


def read_model(net: Any, directory: Path) -> None:
    """The weights of a checkpoint into a model of the same shape."""
    from safetensors.torch import load_file

    if (directory / "adapter_model.safetensors").is_file():
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(net, load_file(directory / "adapter_model.safetensors"))
        return
    fresh = type(net).from_pretrained(directory, dtype=next(net.parameters()).dtype)
    net.load_state_dict(fresh.state_dict())
