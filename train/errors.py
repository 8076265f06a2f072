"""What may end a training run on purpose."""

from __future__ import annotations

from mllm_avqa.schema.errors import AvqaError


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
