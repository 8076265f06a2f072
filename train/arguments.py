"""From a stage of the config to `TrainingArguments`, with DeepSpeed where it is asked for."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch

from mllm_avqa.schema.errors import ConfigError
from train import ranks
from train.config import Config, Stage


def training_arguments(config: Config, stage: Stage, directory: Path) -> Any:
    """Made before any weights are read: with ZeRO-3 they are split among the ranks as they are loaded."""
    from accelerate.state import AcceleratorState
    from transformers import TrainingArguments

    AcceleratorState._reset_state(False)  # the stage before left its DeepSpeed settings there
    settings = deepspeed_settings(config)
    if settings is not None:
        import deepspeed

        deepspeed.init_distributed("nccl" if torch.cuda.is_available() else "gloo", auto_mpi_discovery=False)
    return TrainingArguments(
        output_dir=str(directory),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.lr,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(stage.warmup * stage.steps),
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=config.bf16,
        use_cpu=not torch.cuda.is_available(),
        deepspeed=settings,
        ddp_find_unused_parameters=False,  # `ranks.Fillers` sees to it that all are used
        ddp_timeout=1800,
        logging_steps=min(20, max(1, stage.steps // 5)),
        save_steps=stage.save_every,
        save_total_limit=2,
        eval_strategy="steps",
        eval_steps=stage.save_every,
        seed=config.seed,
        report_to=[],  # `progress` and `trackers` do that
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )


def deepspeed_settings(config: Config) -> dict[str, Any] | None:
    """The JSON that `deepspeed` of the config names, or else the accelerate config; None without either.

    Raises ConfigError for a file that is missing or no JSON.
    """
    asked = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1")
    given = config.deepspeed or (os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE") if asked else None)
    if not given or str(given).lower() == "none":
        return None
    if not torch.cuda.is_available():
        _without_compiler()
    try:
        settings: dict[str, Any] = json.loads(Path(given).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"DeepSpeed settings {given}: {e} (`deepspeed` of the config, accelerate config)") from e
    if ranks.world() == 1 and not torch.distributed.is_initialized():
        raise ConfigError(f"DeepSpeed ({given}) is started by `accelerate launch` or torchrun, see docs/TRAINING.md")
    return settings


def zero_level(config: Config) -> int:
    """How much ZeRO splits among processes: 1 optimizer state, 2 gradients too, 3 weights too; 0 without DeepSpeed."""
    settings = deepspeed_settings(config)
    return int(settings.get("zero_optimization", {}).get("stage", 0)) if settings else 0


def in_one_dtype(model: Any) -> None:
    """ZeRO-3 lays all trained weights into one buffer: new adapters, which peft makes in fp32, follow the rest."""
    dtypes = {p.dtype for p in model.parameters() if hasattr(p, "ds_id")}
    if len(dtypes) == 1:
        dtype = dtypes.pop()
        for p in model.parameters():
            if p.requires_grad and p.dtype != dtype:
                p.data = p.data.to(dtype)


def _without_compiler() -> None:
    """On CPUs DeepSpeed would build a shared-memory module for a minute; gloo gives the same sums."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
