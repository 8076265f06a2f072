"""Sound at its native rate to the mono rate that speech models and mel front ends expect."""

from __future__ import annotations

from math import gcd

import numpy as np


def to_mono(samples: np.ndarray, rate: int, target: int = 16000) -> np.ndarray:
    """Average the channels and resample with a polyphase filter. Deterministic.

    samples: float [channels, n] (or [n]); rate, target: Hz. Returns float32 [ceil(n * target / rate)].
    Non-finite samples become 0, so that one bad sample cannot poison the filter's neighbourhood.
    Raises ValueError when a rate is not positive, or samples is neither [n] nor [channels >= 1, n].
    """
    if rate <= 0 or target <= 0:
        raise ValueError(f"sample rates must be positive, got rate={rate} and target={target}")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] == 0):
        raise ValueError(f"samples must be [channels >= 1, n] or [n], got shape {samples.shape}")
    finite = samples.astype(np.float64)
    if not np.isfinite(samples).all():
        finite = np.nan_to_num(finite, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    mono = finite if finite.ndim == 1 else finite.mean(axis=0)
    if rate == target or mono.size == 0:
        return mono.astype(np.float32)
    from scipy.signal import resample_poly  # 0.3 s to import

    common = gcd(int(rate), int(target))
    return resample_poly(mono, int(target) // common, int(rate) // common).astype(np.float32)
