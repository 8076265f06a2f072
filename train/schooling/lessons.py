"""Shards of lessons (`python -m data_recipes school`) -> what a tower sees, and what each of its tokens has to tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mllm_avqa.schema.errors import ConfigError
from train.schooling import targets
from train.schooling.towers import patches

WORST = 0.94  # what a fault of full dose takes from a score


@dataclass
class Lessons:
    """All lessons of one sense and split, in memory."""

    names: list[str]  # of the faults
    shown: list[np.ndarray]  # uint8 patches, or int16 sound; all of one size
    statistics: list[np.ndarray]  # [tokens, n] of each
    distances: list[np.ndarray]  # [tokens, m] to the clean scene
    dose: torch.Tensor  # [lessons, faults]

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def score(self) -> torch.Tensor:
        """[lessons] 1..5: what is left of each after its faults."""
        return 1 + 4 * (1 - WORST * self.dose).prod(1)


def read(folder: Path, modality: str, split: str, limit: int | None = None) -> Lessons:
    """Raises ConfigError where there is no shard. Where shards teach different faults, all have the columns of all."""
    files = sorted(folder.glob(f"{modality}-{split}-*.npz"))
    if not files:
        raise ConfigError(f"{folder} holds no lessons {modality}-{split}-*.npz (`python -m data_recipes school`)")
    names = _faults(folder, modality)
    shown: list[Any] = []
    statistics, distances, dose = [], [], []
    for file in files:
        if limit is not None and len(shown) >= limit:
            break
        with np.load(file) as z:
            dose.append(np.zeros((len(z["dose"]), len(names)), np.float32))
            dose[-1][:, [names.index(n) for n in z["names"]]] = z["dose"]
            if modality == "video":
                view, likeness = z["view"], z["likeness"]
                shown += [patches(v) for v in view]
                statistics += [targets.sight(v) for v in view]
                distances += [s[:, None] for s in likeness]
            else:
                sound, clean = z["sound"], z["clean"]
                for heard, whole in zip(sound, clean, strict=True):
                    found, gap = targets.hearing(heard, whole, tokens_of(len(heard)))
                    shown.append(heard)
                    statistics.append(found)
                    distances.append(gap)
    return Lessons(names, shown, statistics, distances, torch.from_numpy(np.concatenate(dose)))


def _faults(folder: Path, modality: str) -> list[str]:
    """Names of the faults of all shards of a sense, the oldest shards' first."""
    names: dict[str, None] = {}
    for file in sorted(folder.glob(f"{modality}-*.npz")):
        with np.load(file) as z:
            names |= dict.fromkeys(str(n) for n in z["names"])
    return list(names)


def tokens_of(samples: int) -> int:
    """Sound tokens of this many samples: two halvings of the mel frames."""
    return ((samples // targets.HOP - 1) // 2 - 1) // 2 + 1


class TargetScale:
    """Columns to zero mean and unit spread, cut at four spreads."""

    def __init__(self, columns: list[np.ndarray]) -> None:
        every = np.concatenate(columns)
        self.mean, self.spread = every.mean(0), every.std(0) + 1e-6

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((columns - self.mean) / self.spread, -4, 4), np.float32)
