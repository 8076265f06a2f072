"""`transformers.Trainer` for packed rows: saves checkpoints this project can load, resumes, scores held-out clips."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from mllm_avqa.card import Card
from train.objective import Objective

log = logging.getLogger(__name__)


class RatingTrainer(Trainer):
    """The model is an `Objective`; checkpoints are directories of the backbone with their card."""

    def __init__(self, *args: Any, card: Card, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.card = card
        # The objective already averages; without this the loss would be multiplied by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self._sums: dict[str, float] = {}
        self._count = 0

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        out = model(**inputs)
        for k, v in out.items():
            self._sums[k] = self._sums.get(k, 0.0) + float(v.detach())
        self._count += 1
        if not torch.isfinite(out["loss"]):
            raise FloatingPointError(f"loss is {float(out['loss'])} at step {self.state.global_step}")
        return (out["loss"], out) if return_outputs else out["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs and self._count:
            logs |= {f"loss_{k}": round(v / self._count, 4) for k, v in self._sums.items() if k != "loss"}
            self._sums, self._count = {}, 0
        super().log(logs, *args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        directory = Path(str(output_dir or self.args.output_dir))
        directory.mkdir(parents=True, exist_ok=True)
        objective: Objective = self.accelerator.unwrap_model(self.model)
        objective.backbone.model.save_pretrained(directory)
        objective.backbone.tokenizer.save_pretrained(directory)
        self.card.save(directory)
        torch.save(self.args, directory / "training_args.bin")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        from safetensors.torch import load_file

        objective: Objective = self.accelerator.unwrap_model(model or self.model)
        directory = Path(resume_from_checkpoint)
        net = objective.backbone.model
        if (directory / "adapter_model.safetensors").is_file():
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(net, load_file(directory / "adapter_model.safetensors"))
            return
        fresh = type(net).from_pretrained(directory, dtype=next(net.parameters()).dtype)
        net.load_state_dict(fresh.state_dict())
