"""Small tools of the measures."""

from __future__ import annotations

import numpy as np


def median(values: np.ndarray) -> np.ndarray:
    """Median along the last axis; equals `numpy.median`, several times faster: sorting is vectorised, selecting not."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    return np.asarray(ordered[..., (n - 1) // 2 : n // 2 + 1].mean(axis=-1))


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) index pairs of the True stretches of a 1-D mask."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, dtype=np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
