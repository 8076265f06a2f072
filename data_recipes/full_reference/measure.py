"""What the believed measure says of one fault: the material right before it against the material right after."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from data_recipes.distortions.base import Material
from data_recipes.full_reference.picture import ms_ssim
from data_recipes.full_reference.sound import PACKAGE, installed, visqol
from data_recipes.synthesis.doses import measure_of
from mllm_avqa.schema.errors import ConfigError


def check_installed(kinds: Iterable[str]) -> None:
    """Raises ConfigError when a measure that these kinds need is not installed: labels must not depend on that."""
    needing = [k for k in kinds if measure_of(k) == "visqol"]
    if needing and not installed():
        raise ConfigError(
            f"labels of {', '.join(needing)} are measured with ViSQOL, which is not installed: pip install {PACKAGE}, "
            "or set `labels: dose` in the recipe"
        )


def measured(kind: str, before: Material, after: Material, start: float, end: float) -> dict[str, float]:
    """Name and value of the believed measure over start..end seconds, {} where there is none or it has no answer."""
    measure = measure_of(kind)
    if measure == "ms_ssim":
        assert before.frames is not None
        assert after.frames is not None
        part = _between(start, end, before.fps, len(before.frames))
        return {"ms_ssim": round(ms_ssim(before.frames[part], after.frames[part]), 4)}
    if measure == "visqol":
        assert before.sound is not None
        assert after.sound is not None
        part = _between(start, end, before.rate, before.sound.shape[1])
        value = visqol(before.sound[:, part], np.asarray(after.sound[:, part]), before.rate)
        return {} if value is None else {"visqol": round(value, 4)}
    return {}


def _between(start: float, end: float, rate: float, n: int) -> slice:
    first = min(round(start * rate), n - 1)
    return slice(first, min(max(round(end * rate), first + 1), n))
