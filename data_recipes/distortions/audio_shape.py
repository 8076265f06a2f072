"""Loudness, stereo, bent waveforms and missing bands.

Levels after TCD-VoIP and UnB-AV, spaced by ViSQOL and PESQ on speech recordings. Both are blind to most faults of
loudness and stereo: there the dose decides.
"""

from __future__ import annotations

import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.audio_core import SILENCE, active_level, band_filter, loudness
from data_recipes.distortions.base import MILD, Kind, Material, Rng, sound


@sound(
    "quiet",
    (-30.0, -36.0, -42.0, -48.0, -56.0),
    "lufs",
    f"{ref.LOUDNESS}; {ref.DOSE}",
    ladder=(4.4, 3.8, 3.0, 2.2, 1.4),
)
def quiet(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    # Sound already below the target is lowered by what a programme at -23 LUFS would be.
    gain = min(value - loudness(sound, rate), (value + 23.0) / 2)
    return sound * np.float32(10 ** (gain / 20))


@sound(
    "loud",
    (-13.0, -10.0, -7.0, -4.0, -1.0),
    "lufs",
    f"{ref.LOUDNESS}, clipped at full scale; {ref.DOSE}",
    alike="harsh",
)
def loud(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    # Sound already at the target is raised by 3 dB at least. Clipping eats loudness: three rounds come close.
    out = sound
    for k in range(3):
        gain = value - loudness(out, rate)
        out = np.clip(out * np.float32(10 ** ((max(gain, 3.0) if k == 0 else gain) / 20)), -1, 1)
    return out


def not_stereo(k: Kind, material: Material, level: int) -> str | None:
    assert material.sound is not None
    channels = material.sound.shape[0]
    told = f"audio distortion {k.kind!r} needs stereo sound, this clip has {channels} channel(s)"
    return told if channels != 2 else None


@sound(
    "imbalance",
    (3.0, 6.0, 10.0, 18.0, 60.0),
    "attenuation_db",
    f"{ref.SPATIAL}; {ref.DOSE}",
    needs=not_stereo,
    alike="stereo",
    ladder=(4.7, 4.3, 3.8, 3.2, 2.6),
)
def imbalance(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    out = sound.copy()
    out[1] *= np.float32(10 ** (-value / 20))
    return out


@sound(
    "antiphase",
    (0.3, 0.6, 0.8, 0.9, 1.0),
    "mix",
    f"{ref.SPATIAL}; {ref.DOSE}: energy left in the mono fold-down",
    needs=not_stereo,
    alike="stereo",
    ladder=(4.6, 4.1, 3.5, 2.9, 2.3),
)
def antiphase(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    left, right = sound
    return np.stack([left, right * np.float32(1 - value) - left * np.float32(value)])


@sound(
    "clip", (4.0, 8.0, 13.0, 19.0, 26.0), "drive_db", f"{ref.TCD} and {ref.UNB}, clipping; {ref.EARS}", alike="harsh"
)
def hard_clip(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    peak = float(np.abs(sound).max()) or 1.0
    limit = peak * 10 ** (-value / 20)
    return np.clip(sound, -limit, limit) * np.float32(10 ** (value / 20))  # lifted back to the old peak


@sound("softclip", (6.0, 12.0, 18.0, 26.0, 36.0), "drive_db", f"{ref.CLIPPING}; {ref.EARS}", alike="harsh")
def soft_clip(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    peak = float(np.abs(sound).max()) or 1.0
    drive = 10 ** (value / 20) / peak
    return np.tanh(sound * np.float32(drive)) * np.float32(peak / np.tanh(10 ** (value / 20)))


@sound(
    "lowpass",
    (12000.0, 8000.0, 5000.0, 3400.0, 1800.0),
    "hertz",
    f"{ref.ANCHORS}; {ref.BANDS}; {ref.EARS}",
    alike="narrow",
)
def low_pass(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    return band_filter(sound, rate, "lowpass", (value,), 8)


@sound("highpass", (150.0, 300.0, 600.0, 1000.0, 1800.0), "hertz", f"{ref.BANDS}; {ref.EARS}", alike="narrow")
def high_pass(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    return band_filter(sound, rate, "highpass", (value,), 4)


_BANDS = ((80.0, 7000.0), (150.0, 5000.0), (300.0, 3400.0), (400.0, 2600.0), (500.0, 2000.0))


@sound(
    "telephone",
    tuple({"low_hz": low, "high_hz": high} for low, high in _BANDS),
    "",
    f"{ref.TELEPHONE}, and below; {ref.EARS}",
    alike="narrow",
)
def telephone(sound: np.ndarray, rate: int, value: dict[str, float], rng: Rng) -> np.ndarray:
    low = band_filter(sound, rate, "lowpass", (value["high_hz"],), 8)
    return band_filter(low, rate, "highpass", (value["low_hz"],), 4)


@sound(
    "alias",
    (2, 3, 4, 6, 8),
    "factor",
    f"{ref.ALIASING}; decimation without a filter, sample and hold; {ref.EARS}",
    alike="harsh narrow",
)
def alias(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    factor = int(value)
    return sound[:, np.arange(sound.shape[1]) // factor * factor]


@sound("bits", (9, 7, 6, 5, 4), "bits", f"{ref.QUANTISATION}, relative to the peak; {ref.EARS}", alike="noise harsh")
def few_bits(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    peak = float(np.abs(sound).max()) or 1.0
    step = np.float32(peak / 2 ** (value - 1))
    return np.rint(sound / step) * step


@sound(
    "overcomp",
    (3.0, 8.0, 14.0, 20.0, 30.0),
    "threshold_db_below_peak",
    f"{ref.COMPRESSION}; nine tenths of what exceeds the threshold is taken off, level restored; {ref.DOSE}",
    alike="harsh",
    ladder=MILD,
)
def over_compression(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    hold = max(1, round(0.01 * rate))
    envelope = uniform_filter1d(maximum_filter1d(np.abs(sound).max(0), hold), 4 * hold)
    peak = max(float(envelope.max()), SILENCE)
    over_db = 20 * np.log10(np.maximum(envelope, 1e-9) / (peak * 10 ** (-value / 20)))
    gain = 10 ** (-0.9 * np.maximum(over_db, 0) / 20)
    squeezed = sound * gain.astype(np.float32)
    return squeezed * np.float32(active_level(sound, rate) / active_level(squeezed, rate))
