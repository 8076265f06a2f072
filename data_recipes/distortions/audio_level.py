"""Loudness and stereo: full-reference measures are blind to most of these, the dose decides."""

from __future__ import annotations

import numpy as np

from data_recipes.distortions.audio_core import AudioKind, loudness
from data_recipes.distortions.base import Material, register
from data_recipes.distortions.references import DOSE, LOUDNESS, SPATIAL


@register
class Quiet(AudioKind):
    kind = "quiet"
    levels = (-30.0, -36.0, -42.0, -48.0, -56.0)
    unit = "lufs"
    source = f"{LOUDNESS}; {DOSE}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        # Sound already below the target is lowered by what a programme at -23 LUFS would be.
        gain = min(value - loudness(sound, rate), (value + 23.0) / 2)
        return sound * np.float32(10 ** (gain / 20))


@register
class Loud(AudioKind):
    kind = "loud"
    levels = (-13.0, -10.0, -7.0, -4.0, -1.0)
    unit = "lufs"
    source = f"{LOUDNESS}, clipped at full scale; {DOSE}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        # Sound already at the target is raised by 3 dB at least. Clipping eats loudness: three rounds come close.
        out = sound
        for k in range(3):
            gain = value - loudness(out, rate)
            out = np.clip(out * np.float32(10 ** ((max(gain, 3.0) if k == 0 else gain) / 20)), -1, 1)
        return out


class _Stereo(AudioKind):
    def unusable(self, material: Material, level: int) -> str | None:
        reason = super().unusable(material, level)
        if reason is None and material.sound is not None and material.sound.shape[0] != 2:
            return (
                f"audio distortion {self.kind!r} needs stereo sound, this clip has {material.sound.shape[0]} channel(s)"
            )
        return reason


@register
class Imbalance(_Stereo):
    kind = "imbalance"
    levels = (3.0, 6.0, 10.0, 18.0, 60.0)
    unit = "attenuation_db"
    source = f"{SPATIAL}; {DOSE}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        out = sound.copy()
        out[1] *= np.float32(10 ** (-value / 20))
        return out


@register
class Antiphase(_Stereo):
    kind = "antiphase"
    levels = (0.3, 0.6, 0.8, 0.9, 1.0)
    unit = "mix"
    source = f"{SPATIAL}; {DOSE}: energy left in the mono fold-down"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        left, right = sound
        return np.stack([left, right * np.float32(1 - value) - left * np.float32(value)])
