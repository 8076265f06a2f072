"""`transformers.Trainer` for packed rows: saves checkpoints this project can load, resumes, scores held-out clips."""

from __future__ import annotations

import math
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback

from mllm_avqa.schema.card import Card
from train import progress, ranks, saving
from train.config import Stage
from train.data import Collator
from train.held_out import Validation
from train.lengths import ByLength
from train.objective import LOSSES, Objective
from train.parts import set_rates
from train.stopping import NotFinite


class Epochs(TrainerCallback):
    """Tells the collator the epoch, before it makes the epoch's first batch."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.collator.epoch = int(state.epoch or 0)  # a fraction where a run goes on in the middle of one


class RatingTrainer(Trainer):
    """The model is an `Objective`; checkpoints are directories of the backbone with their card."""

    def __init__(
        self,
        *args: Any,
        card: Card,
        stage: Stage,
        held_out: Validation | None = None,
        lengths: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        """lengths: of the training rows, where batches are to hold rows of similar length (`lengths.ByLength`)."""
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)  # `progress` says more
        self.card, self.stage, self.held_out, self.lengths = card, stage, held_out, lengths
        # The objective already averages; without this the loss would be multiplied by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self._sums = torch.zeros(2, len(LOSSES), device=self.args.device)  # of the loss's parts; batches that had them
        self._recent: list[str] = []  # record ids since the last optimizer step
        self._seen = torch.zeros(len(progress.COUNTS), dtype=torch.float64)  # in batches since the last log
        self._arithmetic = progress.Arithmetic(self.trained.backbone)
        self._clock = progress.StepClock()

    @property
    def trained(self) -> Objective:
        module: Objective = self.accelerator.unwrap_model(self.model)
        return module

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._clock = progress.StepClock()
        return super().train(*args, **kwargs)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        """DeepSpeed in bf16 rounds buffers too; rotary frequencies must stay what they are when the model is served."""
        model: Any = self.model
        buffers = {n: b.clone() for n, b in model.named_buffers() if b.is_floating_point()}
        prepared = super()._prepare_for_training(*args, **kwargs)
        for name, buffer in model.named_buffers():
            if name in buffers:
                buffer.data = buffers[name].to(buffer.device)
        return prepared

    def create_optimizer(self, model: Any = None) -> Any:
        """The usual optimizer; every part of the model has its own learning rate."""
        new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if new:
            set_rates(optimizer, self.trained.backbone, self.stage)
        return optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.lengths is None:
            return super()._get_train_sampler(train_dataset)
        return ByLength(self.lengths, self.args.per_device_train_batch_size * ranks.world(), self.args.seed)

    # ---- steps ------------------------------------------------------------------------------------------------

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        about = inputs.get("about", {})
        out = model(**{k: v for k, v in inputs.items() if k != "about"})
        for k, part in enumerate(LOSSES):
            if part in out:
                self._sums[0, k] += out[part]
                self._sums[1, k] += 1
        self._recent += about.get("ids", [])
        self._seen += torch.tensor([about.get(name, 0) for name in progress.COUNTS])
        if not torch.isfinite(out["loss"]):
            parts = {p: float(out[p]) for p in LOSSES if p in out}
            raise NotFinite("loss", float(out["loss"]), self.state.global_step, about.get("ids", []), parts)
        return (out["loss"], out) if return_outputs else out["loss"]

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        # Known to all ranks alike. Before the step; DeepSpeed has made it already, but nothing of it is saved.
        if norm is not None and not math.isfinite(norm):
            raise NotFinite("gradient norm", float(norm), self.state.global_step, self._recent, {})
        self._recent = []
        return norm

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            sums = self.accelerator.reduce(self._sums, "sum")
            logs |= {f"loss_{p}": round(float(s / n), 4) for p, s, n in zip(LOSSES, *sums, strict=True) if n}
            self._sums = torch.zeros_like(self._sums)
            seen = [int(sum(n)) for n in zip(*ranks.gathered(self._seen.tolist()), strict=True)]
            self._seen = torch.zeros_like(self._seen)
            counts = dict(zip(progress.COUNTS, seen, strict=True))
            logs |= progress.rates(counts, self._clock.lap(), self._arithmetic, ranks.world())
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Held-out SRCC by aspect and their mean, as eval_srcc_video, ..., eval_srcc. Every rank must call it.

        The checkpoint of the best mean so far is never deleted for newer ones.
        """
        begin = perf_counter()
        found = self.held_out.score(self.model_wrapped) if self.held_out is not None else {}
        metrics = {f"eval_srcc_{a}": v["srcc"] for a, v in found.items()}
        if metrics:
            metrics["eval_srcc"] = round(sum(metrics.values()) / len(metrics), 4)
            if self.state.best_metric is None or metrics["eval_srcc"] > self.state.best_metric:
                self.state.best_metric, self.state.best_global_step = metrics["eval_srcc"], self.state.global_step
            self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._clock.aside(begin)
        return metrics

    # ---- checkpoints ------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        directory = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        begin = perf_counter()
        with saving.whole_checkpoint(directory, saving.layout(self)):
            super()._save_checkpoint(model, trial)
        self._clock.aside(begin)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Every rank must call it; the first one writes."""
        saving.write_model(self, Path(output_dir or str(self.args.output_dir)))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        engine: Any = self.model_wrapped
        engine.save_checkpoint(output_dir, exclude_frozen_parameters=True)
        if self.args.should_save:
            schedule: Any = self.lr_scheduler
            torch.save(schedule.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self.is_deepspeed_enabled:  # DeepSpeed has its own copy and loads it later
            saving.read_model(self.trained.backbone.model, Path(resume_from_checkpoint))
        ranks.wait()
