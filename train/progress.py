"""What people watch: a bar on a terminal, a line a log elsewhere, TensorBoard, Weights & Biases if asked for."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from mllm_avqa.schema.errors import ConfigError
from train import ranks

log = logging.getLogger(__name__)
# What is logged: its curve in TensorBoard, which groups curves by what stands before the slash
CURVES = {
    "loss": "loss/total",
    "loss_answer": "loss/answer_text",
    "loss_kl": "loss/level_kl",
    "loss_mass": "loss/level_mass",
    "loss_rank": "loss/rank_pairs",
    "eval_srcc": "held_out_srcc/mean",
    "learning_rate": "optimizer/learning_rate",
    "grad_norm": "optimizer/gradient_norm",
    "clips_per_s": "speed/clips_per_second",
    "questions_per_s": "speed/questions_per_second",
    "tokens_per_s": "speed/tokens_per_second",
    "mfu": "speed/share_of_peak_arithmetic",
}
ASPECT = "eval_srcc_"
SHOWN = ("loss", "learning_rate", "grad_norm", "clips_per_s", "questions_per_s", "tokens_per_s", "mfu")


class Progress(TrainerCallback):
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
