"""What `python -m train school` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from train.config import Count, Positive, Strict


class Lesson(Strict):
    """One tower. Time is counted, not steps: towers of different cost are compared at equal minutes."""

    minutes: Positive  # of one core, or of the GPU
    batch: Count = 16
    start: Literal["fresh", "pretrained"] = "fresh"  # new weights, or the tower as it is with LoRA on its layers
    rank: Count = 16  # of LoRA, for `start: pretrained`
    # For `start: pretrained`: trained in full and settled anew, or left as the language model has learnt to read it
    projector: Literal["full", "frozen"] = "full"
    matrices: Positive = 0.02  # learning rate of Muon, for fresh weights
    rest: Positive = 2e-3  # of AdamW
    energies: bool = True  # sight: log energies before the patch embedding (`Pixels.energies`)
    limit: Count | None = None  # of the lessons


class Schooling(Strict):
    name: str
    lessons: Path  # folder of shards
    init: Path  # checkpoint whose towers are replaced; its language model stays as it is
    output: Path
    sight: Lesson | None = None
    hearing: Lesson | None = None
    seed: int = Field(default=0, ge=0)
    bf16: bool = True
    threads: Count = 1
    device: Literal["cpu", "cuda"] = "cpu"
    save_minutes: Positive = 2.0
