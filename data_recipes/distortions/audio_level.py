"""Loudness and stereo: full-reference measures are blind to most of these, the dose decides."""

from __future__ import annotations

import numpy as np

from data_recipes.distortions.audio_core import loudness
from data_recipes.distortions.base import Kind, Material, Rng, sound
from data_recipes.distortions.references import DOSE, LOUDNESS, SPATIAL


@sound("quiet", (-30.0, -36.0, -42.0, -48.0, -56.0), "lufs", f"{LOUDNESS}; {DOSE}", ladder=(4.4, 3.8, 3.0, 2.2, 1.4))
def quiet(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    # Sound already below the target is lowered by what a programme at -23 LUFS would be.
    gain = min(value - loudness(sound, rate), (value + 23.0) / 2)
    return sound * np.float32(10 ** (gain / 20))


@sound("loud", (-13.0, -10.0, -7.0, -4.0, -1.0), "lufs", f"{LOUDNESS}, clipped at full scale; {DOSE}", alike="harsh")
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
    f"{SPATIAL}; {DOSE}",
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
    f"{SPATIAL}; {DOSE}: energy left in the mono fold-down",
    needs=not_stereo,
    alike="stereo",
    ladder=(4.6, 4.1, 3.5, 2.9, 2.3),
)
def antiphase(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    left, right = sound
    return np.stack([left, right * np.float32(1 - value) - left * np.float32(value)])
