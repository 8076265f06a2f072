"""ViSQOL of a sound against its reference, through the optional package visqol-python."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

RATE = 48000  # Hz, the only rate of ViSQOL's audio model
SHORTEST = 1.0  # seconds; ViSQOL compares patches of about half a second
PACKAGE = "visqol-python"


def installed() -> bool:
    """Whether the package is there."""
    return find_spec("visqol") is not None


@cache
def _api() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api


def visqol(reference: np.ndarray, distorted: np.ndarray, rate: int) -> float | None:
    """MOS-LQO 1 to about 4.75 of the mono fold-down, model "audio"; None where ViSQOL has no answer.

    reference, distorted: float32 [channels, samples] at `rate` Hz. No answer: shorter than a second, or silent.
    Needs visqol-python (see `installed`). Source: Chinen et al., "ViSQOL v3", QoMEX 2020 (google/visqol).
    """
    from data_recipes.distortions.audio_core import resample

    n = min(reference.shape[1], distorted.shape[1])
    if n < SHORTEST * rate:
        return None
    pair = [resample(x[:, :n].mean(0, keepdims=True), rate, RATE)[0].astype(np.float64) for x in (reference, distorted)]
    if not all(x.any() for x in pair):
        return None
    value = float(_api().measure_from_arrays(*pair, RATE).moslqo)
    return value if np.isfinite(value) else None
