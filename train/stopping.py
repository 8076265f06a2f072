"""What may end a training run on purpose: a signal that asks for it, a value that is not finite."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from mllm_avqa.schema.errors import AvqaError
from train import ranks


class NotFinite(AvqaError):
    """The loss or its gradient is NaN or infinite. The message names the records of the batch."""

    kind = "not_finite"

    def __init__(self, what: str, value: float, step: int, ids: list[str], parts: dict[str, float]) -> None:
        self.ids = ids
        shares = "".join(f", {name} {v:.4g}" for name, v in parts.items())
        super().__init__(
            f"the {what} is {value} at step {step}{shares}; records of the batch: {', '.join(ids) or 'none'}. "
            "The last checkpoint is intact: look at these records, or lower `lr`"
        )


class Interrupted(AvqaError):
    """The run was asked to stop and has saved a checkpoint; the same command goes on from there."""

    kind = "interrupted"


log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # what schedulers send before they take a machine away


class Stopper(TrainerCallback):
    """Within `listening()`, a signal to any rank makes all of them save and leave `train()` after the step they are in.

    `stopped` says so afterwards.
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        self.stopped = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
            yield
            return
        before = {s: signal.signal(s, self._hear) for s in SIGNALS}
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def _hear(self, number: int, frame: object) -> None:
        self.asked = signal.Signals(number).name

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if ranks.any_of(self.asked is not None) and state.global_step < state.max_steps:
            log.warning("%s: saving step %d and stopping", self.asked or "another rank was asked", state.global_step)
            self.stopped = control.should_save = control.should_training_stop = True
