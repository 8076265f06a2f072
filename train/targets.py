"""What the model is to answer at a level position."""

from __future__ import annotations

from dataclasses import dataclass

from mllm_avqa.schema.records import Label


@dataclass
class Target:
    """Label of one aspect on 1-5, higher better."""

    mean: float
    std: float
    probs: list[float]  # order of levels.WORDS


def target(label: Label) -> Target:
    """A record's label as mean, std and soft level target. Votes, where given, are used as they are."""
    return Target(label.score, label.std_five, label.levels().tolist())
