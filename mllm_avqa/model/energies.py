"""Log energies of a patch pair as a fourth channel beside its colours (`Pixels.energies`).

Quality lives in the energies of frequency bands, over five orders of magnitude; a linear patch embedding scaled to
natural spread hides the small ones. A patch of s x s pixels in two frames has 2 s^2 places in one more channel: one for
each DCT coefficient of the pair's mean and of its difference. So the tower stays the stock class with `in_channels` 4.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from mllm_avqa.schema.card import Pixels

LUMA = (0.299, 0.587, 0.114)
FLOOR = 0.3  # in squared grey levels: below what rounding to 8 bits leaves
CENTRE, SPREAD = 1.0, 1.2  # of the decimal logarithms on natural pictures


@lru_cache(maxsize=4)
def _dct(side: int) -> torch.Tensor:
    rows = np.arange(side)
    basis = np.cos(np.pi * (rows[None] + 0.5) * rows[:, None] / side)
    return torch.from_numpy((basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32))


def coefficients(pixel_values: torch.Tensor, pixels: Pixels, side: int) -> torch.Tensor:
    """DCT [patches, 2, side, side] of the luminance, in grey levels: of the pair's mean, of its difference."""
    colours = pixel_values.view(-1, 3, 2, side, side).float()
    shares = torch.tensor(LUMA).view(-1, 1, 1, 1) * (pixels.std * 255)
    luma = (colours * shares).sum(1) + pixels.mean * 255
    pair = torch.stack([luma.mean(1), luma[:, 0] - luma[:, 1]], 1)
    basis = _dct(side)
    return basis @ pair @ basis.T


def with_energies(pixel_values: torch.Tensor, pixels: Pixels, side: int) -> torch.Tensor:
    """[patches, 3 * 2 * side^2] -> [patches, 4 * 2 * side^2]."""
    found = coefficients(pixel_values, pixels, side)
    logs = (torch.log10(found.square() + FLOOR) - CENTRE) / SPREAD
    return torch.cat([pixel_values, logs.flatten(1).to(pixel_values)], 1)
