"""What every token has to tell: about thirty local statistics of its pixels or samples, exact and free.

They are what teaches a tower: they differ for every token and need no label. Columns are scaled to unit spread over
the lessons that a run is taught on.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

SIDE = 28  # pixels of a token
LATTICE = 8  # of block codecs; mini-patches start on it
TINY = 1e-8
RATE, HOP, WINDOW = 16000, 160, 400  # of the mel front end
PER_TOKEN = 4  # mel frames of a token


# ---- sight ----------------------------------------------------------------------------------------------------


def sight(view: np.ndarray) -> np.ndarray:
    """Statistics [tokens, n] of a fragments view uint8 [frames, h, w, 3]; tokens in the order pair, row, column."""
    pairs = _tokens(view)  # [tokens, 2, 28, 28, 3]
    luma = pairs @ np.array([0.299, 0.587, 0.114], np.float32)
    mean, change = luma.mean(1), luma[:, 0] - luma[:, 1]
    blue, red = pairs[:, 0, ..., 2] - luma[:, 0], pairs[:, 0, ..., 0] - luma[:, 0]
    across, down = np.diff(luma[:, 0], axis=2), np.diff(luma[:, 0], axis=1)
    columns = [
        *_bands(mean),
        *_bands(change),
        luma.mean((1, 2, 3)) / 64,
        _log(luma[:, 0].var((1, 2))),
        _log((luma <= 8).mean((1, 2, 3)) + 1e-3),
        _log((luma >= 247).mean((1, 2, 3)) + 1e-3),
        _edges(np.abs(across)),
        _edges(np.abs(down).transpose(0, 2, 1)),
        _log(np.abs(across).mean((1, 2)) + 0.05),
        _log(np.abs(down).mean((1, 2)) + 0.05),
        _log((across**2).mean((1, 2)) + 0.05) - 2 * _log(np.abs(across).mean((1, 2)) + 0.2),
        (np.abs(across) < 0.5).mean((1, 2)),
        (np.abs(down) < 0.5).mean((1, 2)),
        (np.abs(change) < 0.5).mean((1, 2)),
        _log((np.abs(luma[:, 0] - luma[:, 0].mean((1, 2), keepdims=True)) > 60).mean((1, 2)) + 1e-2),
        blue.mean((1, 2)) / 16,
        red.mean((1, 2)) / 16,
        _log(np.diff(blue, axis=2).var((1, 2)) + 0.05),
        _log(np.diff(red, axis=2).var((1, 2)) + 0.05),
        _log(blue.var((1, 2)) + red.var((1, 2)) + 0.05),
    ]
    return np.stack(columns, 1).astype(np.float32)


def _tokens(view: np.ndarray) -> np.ndarray:
    n, h, w, _ = view.shape
    cells = view.reshape(n // 2, 2, h // SIDE, SIDE, w // SIDE, SIDE, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    return cells.reshape(-1, 2, SIDE, SIDE, 3).astype(np.float32)


def _log(x: np.ndarray) -> np.ndarray:
    return np.log10(x + TINY)


def _basis(side: int) -> np.ndarray:
    rows = np.arange(side)
    basis = np.cos(np.pi * (rows[None] + 0.5) * rows[:, None] / side)
    return np.asarray(basis / np.linalg.norm(basis, axis=1, keepdims=True), np.float32)


def _bands(x: np.ndarray, edges: tuple[int, ...] = (0, 1, 2, 4, 6, 9, 13, 19, 27)) -> list[np.ndarray]:
    """Log energies of rings of the 14 x 14 DCT of [tokens, 28, 28]; the first is that of the mean."""
    half = SIDE // 2
    basis = _basis(half)
    cells = x.reshape(-1, 2, half, 2, half).transpose(0, 1, 3, 2, 4)
    energy = ((basis @ cells @ basis.T) ** 2).mean((1, 2))
    ring = np.add.outer(np.arange(half), np.arange(half))
    pairs = pairwise(edges)
    return [_log(energy[:, (ring >= low) & (ring < high)].mean(1) + 0.05) for low, high in pairs]


def _edges(steps: np.ndarray) -> np.ndarray:
    """How much steeper steps [tokens, rows, 27] are at the lattice of 8 than elsewhere, as a logarithm."""
    at = np.arange(LATTICE - 1, SIDE - 1, LATTICE)
    rest = np.setdiff1d(np.arange(SIDE - 1), at)
    return _log(steps[..., at].mean((1, 2)) + 0.3) - _log(steps[..., rest].mean((1, 2)) + 0.3)


# ---- hearing --------------------------------------------------------------------------------------------------


def hearing(sound: np.ndarray, clean: np.ndarray, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Statistics [tokens, n] of 16-bit mono sound, and its distances [tokens, m] to the clean one."""
    bands, whole = _spectrum(sound, tokens)
    truth, _ = _spectrum(clean, tokens)
    wave = sound.astype(np.float32) / 32768
    block = HOP * PER_TOKEN
    cut = np.abs(np.pad(wave, (0, max(0, tokens * block - len(wave))))[: tokens * block]).reshape(tokens, block)
    power = (cut**2).mean(1)
    peak = cut.max(1)
    level = max(float(cut.max()), 1e-4)
    columns = [
        *bands.T,
        *_around(bands[:, ::3], 12, np.min).T,
        *_around(bands[:, ::3], 6, np.std).T,
        _log(power) * 1.0,
        _log(peak**2 + 1e-9) - _log(power + 1e-9),
        _log((cut >= 0.97 * level).mean(1) + 1e-3),
        (cut < 2 / 32768).mean(1),
        *whole.T,
    ]
    gap = np.abs(bands - truth)
    noise = ((sound.astype(np.float32) - clean) / 32768)[: tokens * block]
    noise = (np.pad(noise, (0, max(0, tokens * block - len(noise)))).reshape(tokens, block) ** 2).mean(1)
    signal = (np.pad(clean / 32768, (0, max(0, tokens * block - len(clean))))[: tokens * block] ** 2).reshape(
        tokens, -1
    )
    distance = [
        gap[:, :4].mean(1),
        gap[:, 4:8].mean(1),
        gap[:, 8:].mean(1),
        np.clip(_log(noise / (signal.mean(1) + TINY) + 1e-4), -4, 1),
    ]
    return np.stack(columns, 1).astype(np.float32), np.stack(distance, 1).astype(np.float32)


def _spectrum(sound: np.ndarray, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Log energies [tokens, 12] of bands, and flatness, roll-off and share of the top [tokens, 3]."""
    wave = np.pad(sound.astype(np.float32) / 32768, (WINDOW // 2, WINDOW))
    frames = tokens * PER_TOKEN
    wave = np.pad(wave, (0, max(0, frames * HOP + WINDOW - len(wave))))
    cells = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[: frames * HOP : HOP] * np.hanning(WINDOW).astype(
        np.float32
    )
    power = (np.abs(np.fft.rfft(cells)) ** 2).reshape(tokens, PER_TOKEN, -1).mean(1) + 1e-7
    edges = np.unique(np.rint(np.geomspace(2, power.shape[1], 13)).astype(int))
    bands = np.stack([np.log10(power[:, a:b].mean(1)) for a, b in pairwise(edges)], 1)
    flat = np.log10(power).mean(1) - np.log10(power.mean(1))
    share = np.cumsum(power, 1) / power.sum(1, keepdims=True)
    roll = (share < 0.99).mean(1)
    top = np.log10(power[:, 100:].mean(1)) - np.log10(power[:, :100].mean(1))
    return bands, np.stack([flat, roll, top], 1)


def _around(x: np.ndarray, reach: int, what: object) -> np.ndarray:
    """`what` over the tokens up to `reach` before and after, per column."""
    padded = np.pad(x, ((reach, reach), (0, 0)), mode="edge")
    cells = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    return np.asarray(what(cells, -1))  # type: ignore[operator]
