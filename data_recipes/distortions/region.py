"""A rectangle of the picture, as (x, y, w, h): left edge, top edge, width, height in shares of the picture's sides."""

from __future__ import annotations

from math import ceil, floor, isfinite

import numpy as np

from mllm_avqa.schema.errors import ConfigError

Region = tuple[float, float, float, float]
ROUNDING = 1e-6  # shares written with a few decimals may exceed 1 by this in sum


def check(region: Region) -> None:
    """Raises ConfigError unless the rectangle has a size and lies inside the picture."""
    if len(region) == 4 and all(isfinite(v) for v in region):
        x, y, w, h = region
        if min(x, y) >= 0 and min(w, h) > 0 and max(x + w, y + h) <= 1 + ROUNDING:
            return
    raise ConfigError(
        f"region {tuple(region)} is not inside the picture; allowed: x,y,w,h in shares of its sides, "
        "x and y from 0, w and h above 0, x + w and y + h up to 1 (--region)"
    )


def pixels(region: Region, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that the rectangle touches, one pixel at least."""
    x, y, w, h = region

    def side(start: float, length: float, size: int) -> slice:
        first = min(floor(start * size + ROUNDING), size - 1)
        return slice(first, min(max(ceil((start + length) * size - ROUNDING), first + 1), size))

    return side(y, h, height), side(x, w, width)


def inside(clean: np.ndarray, faulty: np.ndarray, region: Region) -> np.ndarray:
    """`clean` with the rectangle taken from `faulty`; frames [n, h, w, 3], a new array."""
    rows, columns = pixels(region, *clean.shape[1:3])
    out = clean.copy()
    out[:, rows, columns] = faulty[:, rows, columns]
    return out


def parameters(region: Region) -> dict[str, float | str]:
    """As stored in `Distortion.parameters`."""
    return {f"region_{side}": float(value) for side, value in zip("xywh", region, strict=True)}
