"""What the model is to answer at a level position."""

from __future__ import annotations

from dataclasses import dataclass

from mllm_avqa.levels import Scale, soft_target, sos_std
from mllm_avqa.records import Label


@dataclass
class Target:
    """Label of one aspect on 1-5, higher better."""

    mean: float
    std: float
    probs: list[float]  # order of levels.WORDS


def target(label: Label) -> Target:
    """A record's label as mean, std and soft level target. Votes, where given, are used as they are."""
    scale = Scale(*label.scale, label.higher_is_better)
    mean = min(5.0, max(1.0, scale.to_five(label.mean)))
    std = scale.std_to_five(label.std) if label.std is not None else sos_std(mean)
    if label.votes is not None and sum(label.votes) > 0:
        worst_first = label.votes if label.higher_is_better else label.votes[::-1]
        probs = [v / sum(label.votes) for v in worst_first[::-1]]
    else:
        probs = soft_target(mean, std).tolist()
    return Target(mean, std, probs)
