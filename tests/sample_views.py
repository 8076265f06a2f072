"""Random views of a tiny window, for tests that need no real clip."""

from __future__ import annotations

import numpy as np

from mllm_avqa.model.views import Views


def make_views(seed: int = 0, seconds: float = 1.0) -> Views:
    rng = np.random.default_rng(seed)
    return Views(
        whole=rng.integers(0, 255, (4, 56, 84, 3), dtype=np.uint8),
        fragments=rng.integers(0, 255, (4, 56, 84, 3), dtype=np.uint8),
        sound=(rng.standard_normal(int(16000 * seconds)) * 0.1).astype(np.float32),
        seconds_per_pair=1.0,
    )
