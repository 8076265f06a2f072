"""Bent waveforms and missing bands: clipping, filters, aliasing, few bits, over-compression.

Levels after TCD-VoIP and UnB-AV, spaced by ViSQOL and PESQ on speech recordings.
"""

from __future__ import annotations

import numpy as np

from data_recipes.distortions.audio_core import SILENCE, AudioKind, active_level, band_filter
from data_recipes.distortions.base import register
from data_recipes.distortions.references import (
    ALIASING,
    ANCHORS,
    BANDS,
    CLIPPING,
    COMPRESSION,
    DOSE,
    EARS,
    QUANTISATION,
    TCD,
    TELEPHONE,
    UNB,
)


@register
class HardClip(AudioKind):
    kind = "clip"
    levels = (4.0, 8.0, 13.0, 19.0, 26.0)
    unit = "drive_db"
    source = f"{TCD} and {UNB}, clipping; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        peak = float(np.abs(sound).max()) or 1.0
        return np.clip(sound, -peak * 10 ** (-value / 20), peak * 10 ** (-value / 20)) * np.float32(
            10 ** (value / 20)
        )  # lifted back to the old peak


@register
class SoftClip(AudioKind):
    kind = "softclip"
    levels = (6.0, 12.0, 18.0, 26.0, 36.0)
    unit = "drive_db"
    source = f"{CLIPPING}; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        peak = float(np.abs(sound).max()) or 1.0
        drive = 10 ** (value / 20) / peak
        return np.tanh(sound * np.float32(drive)) * np.float32(peak / np.tanh(10 ** (value / 20)))


class _Band(AudioKind):
    unit = "hertz"
    shape = "lowpass"
    order = 8

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        return band_filter(sound, rate, self.shape, (value,), self.order)


@register
class LowPass(_Band):
    kind = "lowpass"
    source = f"{ANCHORS}; {BANDS}; {EARS}"
    levels = (12000.0, 8000.0, 5000.0, 3400.0, 1800.0)


@register
class HighPass(_Band):
    kind = "highpass"
    source = f"{BANDS}; {EARS}"
    levels = (150.0, 300.0, 600.0, 1000.0, 1800.0)
    shape = "highpass"
    order = 4


@register
class Telephone(AudioKind):
    kind = "telephone"
    levels = (
        {"low_hz": 80.0, "high_hz": 7000.0},
        {"low_hz": 150.0, "high_hz": 5000.0},
        {"low_hz": 300.0, "high_hz": 3400.0},
        {"low_hz": 400.0, "high_hz": 2600.0},
        {"low_hz": 500.0, "high_hz": 2000.0},
    )
    unit = ""
    source = f"{TELEPHONE}, and below; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: dict[str, float], rng: np.random.Generator) -> np.ndarray:  # type: ignore[override]
        low = band_filter(sound, rate, "lowpass", (value["high_hz"],), 8)
        return band_filter(low, rate, "highpass", (value["low_hz"],), 4)


@register
class Alias(AudioKind):
    kind = "alias"
    levels = (2, 3, 4, 6, 8)
    unit = "factor"
    source = f"{ALIASING}; decimation without a filter, sample and hold; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        factor = int(value)
        return sound[:, np.arange(sound.shape[1]) // factor * factor]


@register
class Bits(AudioKind):
    kind = "bits"
    levels = (9, 7, 6, 5, 4)
    unit = "bits"
    source = f"{QUANTISATION}, relative to the peak; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        peak = float(np.abs(sound).max()) or 1.0
        step = np.float32(peak / 2 ** (value - 1))
        return np.rint(sound / step) * step


@register
class OverCompression(AudioKind):
    kind = "overcomp"
    levels = (3.0, 8.0, 14.0, 20.0, 30.0)
    unit = "threshold_db_below_peak"
    source = f"{COMPRESSION}; nine tenths of what exceeds the threshold is taken off, level restored; {DOSE}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        from scipy.ndimage import maximum_filter1d, uniform_filter1d

        hold = max(1, round(0.01 * rate))
        envelope = uniform_filter1d(maximum_filter1d(np.abs(sound).max(0), hold), 4 * hold)
        peak = max(float(envelope.max()), SILENCE)
        over_db = 20 * np.log10(np.maximum(envelope, 1e-9) / (peak * 10 ** (-value / 20)))
        gain = 10 ** (-0.9 * np.maximum(over_db, 0) / 20)
        squeezed = sound * gain.astype(np.float32)
        return squeezed * np.float32(active_level(sound, rate) / active_level(squeezed, rate))
