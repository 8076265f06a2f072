"""True peak as FFmpeg's `ebur128` tells it (32 taps at 192 kHz), oversampled only where the peak so far may be passed.

Most sound is too quiet beside its loudest moment to hold the peak: a sixth of the time, and the same number.
"""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_RATE = 192_000
_TAPS = 32
_BEFORE = _TAPS // 2 - 1  # samples that an oversampled one needs before its place; one more behind it
_PIECE = {1: 16, 147: 21}  # samples looked at together, by the denominator of 192 kHz : rate (48 and 44.1 kHz)
_PHASES = 1024  # beyond, libswresample rounds the places


def oversampled_alike(rate: int) -> bool:
    """Is what FFmpeg does at `rate` what is done here?"""
    up, down = _RATE // gcd(rate, _RATE), rate // gcd(rate, _RATE)
    return down in _PIECE and up <= _PHASES and 1000 <= rate <= 0.97 * _RATE


class TruePeak:
    """Of sound that arrives in pieces; `value` is linear."""

    def __init__(self, rate: int) -> None:
        up, down = _RATE // gcd(rate, _RATE), rate // gcd(rate, _RATE)
        self._piece = _PIECE[down]
        self._step = max(down, self._piece)  # from here on the places repeat
        self._filters = [_filter(at, self._piece, up, down) for at in range(0, self._step, self._piece)]
        self._gain = max(float(np.abs(weights).sum(axis=0).max()) for _, weights in self._filters)
        self._tenth = rate // 10  # a last, partial tenth of a second is not told
        self._held: np.ndarray | None = None
        self._seen = 0
        self.value = 0.0

    def add(self, samples: np.ndarray) -> None:
        """float32 [channels, n]; the first piece has at least 16 samples unless it is all."""
        self._seen += samples.shape[1]
        before = samples[:, _BEFORE:0:-1] if self._held is None else self._held  # the beginning is mirrored
        held = np.concatenate([before, samples], axis=1)
        whole = max(0, held.shape[1] - self._seen % self._tenth - (_TAPS - 1)) // self._step * self._step
        if whole:
            self._look(held[:, : whole + _TAPS - 1])
        self._held = held[:, whole:]

    def finish(self) -> None:
        """Looks at what is left, up to where samples behind are missing."""
        if self._held is None:
            return
        end = self._held.shape[1] - self._seen % self._tenth - (_TAPS - 1)
        tail = np.zeros((len(self._held), self._step + _TAPS - 1))
        known = self._held[:, : max(0, end + _TAPS - 1)][:, : tail.shape[1]]
        tail[:, : known.shape[1]] = known
        for (times, weights), at in zip(self._filters, range(0, self._step, self._piece), strict=True):
            self._raise(tail[:, at : at + len(weights)] @ weights[:, times < end])

    def _look(self, samples: np.ndarray) -> None:
        width = self._piece + _TAPS - 1
        loudest = sliding_window_view(np.abs(samples).max(axis=0), width)[:: self._piece].max(axis=1)
        pieces = sliding_window_view(samples, width, axis=1)[:, :: self._piece]
        top = int(loudest.argmax())
        self._oversample(pieces, np.array([top]), top % len(self._filters))
        hopeful = np.flatnonzero(loudest * self._gain > self.value)
        for at in range(len(self._filters)):
            self._oversample(pieces, hopeful[hopeful % len(self._filters) == at], at)

    def _oversample(self, pieces: np.ndarray, which: np.ndarray, at: int) -> None:
        if len(which):
            self._raise(pieces[:, which].reshape(-1, pieces.shape[2]).astype(np.float64) @ self._filters[at][1])

    def _raise(self, values: np.ndarray) -> None:
        self.value = max(self.value, float(np.abs(values).max(initial=0.0)))


def _filter(at: int, piece: int, up: int, down: int) -> tuple[np.ndarray, np.ndarray]:
    """Times, in samples, of what lies in `at` to `at + piece` when oversampled, and libswresample's weights for it.

    Weights are [samples, times]: a sinc under a Kaiser window (beta 9).
    """
    times = np.arange(-(-at * up // down), -(-(at + piece) * up // down)) * down / up
    away = times - np.arange(at - _BEFORE, at + piece + _TAPS - _BEFORE - 1)[:, None]
    window = np.i0(9 * np.sqrt(np.maximum(0, 1 - (2 * away / _TAPS) ** 2))) * (np.abs(away) < _TAPS / 2)
    return times, np.sinc(away) * window / np.i0(9)
