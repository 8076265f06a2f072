"""What people watch: a bar on a terminal, a line a log elsewhere, TensorBoard, Weights & Biases if asked for.

And how fast a run is: clips, questions and tokens a second, and the share of the hardware's arithmetic that is used.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.schema.errors import ConfigError
from train import ranks
from train.parts import part_of

log = logging.getLogger(__name__)
# What is logged: its curve in TensorBoard, which groups curves by what stands before the slash
CURVES = {
    "loss": "loss/total",
    "loss_answer": "loss/answer_text",
    "loss_kl": "loss/level_kl",
    "loss_mass": "loss/level_mass",
    "loss_rank": "loss/rank_pairs",
    "reward": "reward/mean",
    "eval_srcc": "held_out_srcc/mean",
    "learning_rate": "optimizer/learning_rate",
    "grad_norm": "optimizer/gradient_norm",
    "clips_per_s": "speed/clips_per_second",
    "questions_per_s": "speed/questions_per_second",
    "tokens_per_s": "speed/tokens_per_second",
    "mfu": "speed/share_of_peak_arithmetic",
}
ASPECT = "eval_srcc_"
SHOWN = ("loss", "reward", "learning_rate", "grad_norm", "clips_per_s", "questions_per_s", "tokens_per_s", "mfu")


class StageProgress(TrainerCallback):
    """Of the first rank only; a bar with the time left where stderr is a terminal, beside a line for every log."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if ranks.rank() or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.bar.start()
        self.bar.add_task(self.stage, total=state.max_steps, completed=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        shown = [k for k in logs if k in SHOWN or k.startswith("eval_srcc")]
        if shown and not ranks.rank():
            line = ", ".join(f"{k} {logs[k]:.4g}" for k in shown)
            log.info("%s %d/%d: %s", self.stage, state.global_step, state.max_steps, line)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class Curves(TrainerCallback):
    """TensorBoard files in `folder`; a resumed run takes back what was logged after its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        from torch.utils.tensorboard import SummaryWriter

        begun = state.global_step + 1 if state.global_step else None
        self.writer = SummaryWriter(str(self.folder), purge_step=begun)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        for name, value in (logs or {}).items():
            held_out = f"held_out_srcc/{name.removeprefix(ASPECT)}" if name.startswith(ASPECT) else None
            if curve := CURVES.get(name, held_out):
                self.writer.add_scalar(curve, value, state.global_step)
        self.writer.flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.writer.close()


def trackers(output: Path, stage: str) -> list[TrainerCallback]:
    """TensorBoard in `output`/tensorboard, and W&B if WANDB_PROJECT is set. Empty but for the first rank.

    Raises ConfigError when W&B is asked for and not installed.
    """
    if ranks.rank():
        return []
    from transformers.integrations import WandbCallback

    found: list[TrainerCallback] = []
    if importlib.util.find_spec("tensorboard"):
        found.append(Curves(output / "tensorboard" / stage))
    if os.environ.get("WANDB_PROJECT"):
        if not importlib.util.find_spec("wandb"):
            raise ConfigError("WANDB_PROJECT asks for Weights & Biases, which is not installed: pip install wandb")
        found.append(WandbCallback())
    return found


COUNTS = ("clips", "questions", "tokens", "squares", "patches", "mel")  # of a batch, see `batches`
# Dense bf16 TFLOP/s of NVIDIA's data sheets, without sparsity; first match counts.
PEAKS = {"B200": 2250, "H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125}

LOOKED_UP = ("embed_tokens", "lm_head", "original")  # weights that few positions or none are multiplied with


class Arithmetic:
    """Floating-point operations of training on a batch, from what the batch holds.

    Per weight and position 2 in the forward pass, 2 more where a gradient passes through, 2 more where the weight is
    trained (Kaplan et al. 2020, arXiv 2001.08361, table 1); 4 T^2 per attention channel of the language model.
    Embeddings, heads and projectors, which see few positions, are left out.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.cost = dict.fromkeys(("llm", "vision", "audio"), 0.0)  # by position
        parts = [(part_of(n, backbone), n, p) for n, p in backbone.model.named_parameters()]
        passed = {"llm"} | {part for part, _, p in parts if p.requires_grad}
        for part, name, p in parts:
            if part in self.cost and p.dim() > 1 and not any(s in name for s in LOOKED_UP):
                count = getattr(p, "ds_numel", p.numel())  # with ZeRO-3 a rank holds a part of it
                self.cost[part] += count * (2 + 2 * (part in passed) + 2 * p.requires_grad)
        core = backbone.model.get_base_model() if hasattr(backbone.model, "peft_config") else backbone.model
        text = core.config.get_text_config()
        self.attention = 3 * 4 * text.num_hidden_layers * text.hidden_size

    def of(self, seen: dict[str, int]) -> float:
        towers = self.cost["vision"] * seen["patches"] + self.cost["audio"] * seen["mel"] / 2  # first stride of sound
        return towers + self.cost["llm"] * seen["tokens"] + self.attention * seen["squares"]


class StepClock:
    """Time spent in training steps; `aside()` leaves out what is not training (saving, evaluation)."""

    def __init__(self) -> None:
        self.since, self.elsewhere = time.perf_counter(), 0.0

    def aside(self, begin: float) -> None:
        self.elsewhere += time.perf_counter() - begin

    def lap(self) -> float:
        now = time.perf_counter()
        seconds = now - self.since - self.elsewhere
        self.since, self.elsewhere = now, 0.0
        return max(seconds, 1e-9)


def rates(seen: dict[str, int], seconds: float, arithmetic: Arithmetic, processes: int) -> dict[str, float]:
    """What is logged: rates of the whole run, `mfu` as a fraction of the peak of all its devices."""
    out = {f"{k}_per_s": _short(seen[k] / seconds) for k in ("clips", "questions", "tokens")}
    return out | {"mfu": _short(arithmetic.of(seen) / seconds / (peak()[0] * processes))}


@cache
def peak() -> tuple[float, str]:
    """FLOP/s of one process's device and where the number is from: a data sheet, or a matrix product timed here."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        for key, tera in PEAKS.items():
            if key in name:
                return tera * 1e12, f"data sheet of {key}, dense bf16"
    return _timed()


def _timed(side: int = 1024) -> tuple[float, str]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best, f"{side} x {side} matrix product timed on this {device}, {a.dtype}"


def _short(x: Any) -> float:
    return float(f"{x:.4g}")
