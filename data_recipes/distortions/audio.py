"""Noise on the sound: white, pink, brown, real background, hum, clicks.

Levels after TCD-VoIP and UnB-AV, spaced by ViSQOL and PESQ on speech recordings.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_recipes.distortions.audio_core import AudioKind, add_at_snr, other_sound
from data_recipes.distortions.base import Material, register
from data_recipes.distortions.references import EARS, HUM, RESTORATION, TCD, UNB

NOISE = f"{TCD} and {UNB}, background noise; {EARS}"


def coloured_noise(shape: tuple[int, ...], rate: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Noise float32 of `shape` with power falling as 1/f**exponent above 20 Hz, unit variance per row."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(shape[-1], real=True)
    white = rng.standard_normal((*shape[:-1], size), dtype=np.float32)
    if not exponent:
        return white[..., : shape[-1]]
    hertz = np.fft.rfftfreq(size, 1 / rate)
    weight = np.maximum(hertz, 20.0) ** (-exponent / 2)
    weight[0] = 0  # no direct current
    noise = irfft(rfft(white) * weight.astype(np.float32), n=size)[..., : shape[-1]]
    return np.asarray(noise / max(float(noise.std()), 1e-9), np.float32)


class _Noise(AudioKind):
    levels = (35.0, 26.0, 18.0, 10.0, 2.0)
    unit = "snr_db"
    source = NOISE
    exponent = 0.0

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        return add_at_snr(sound, coloured_noise(sound.shape, rate, self.exponent, rng), rate, value)


@register
class WhiteNoise(_Noise):
    kind = "white"


@register
class PinkNoise(_Noise):
    kind = "pink"
    exponent = 1.0


@register
class BrownNoise(_Noise):
    kind = "brown"
    exponent = 2.0


@register
class BackgroundNoise(AudioKind):
    """A random part of the sound of `Material.other` under the sound."""

    kind = "bgnoise"
    levels = (30.0, 20.0, 12.0, 5.0, -3.0)
    unit = "snr_db"
    source = NOISE

    def unusable(self, material: Material, level: int) -> str | None:
        reason = super().unusable(material, level)
        if reason is None and (
            material.other is None or material.other.sound is None or not material.other.sound.any()
        ):
            return f"audio distortion {self.kind!r} needs another clip with sound as background, there is none"
        return reason

    def apply(self, material: Material, level: int, rng: np.random.Generator) -> Material:
        assert material.sound is not None
        assert material.other is not None
        noise = other_sound(material.other, material.rate, material.sound.shape, rng)
        return replace(material, sound=add_at_snr(material.sound, noise, material.rate, self.value(level)))


@register
class Hum(AudioKind):
    kind = "hum"
    levels = (34.0, 26.0, 18.0, 10.0, 3.0)
    unit = "snr_db"
    source = f"{HUM}; 50 or 60 Hz with seven harmonics; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        mains = rng.choice([50.0, 60.0])
        t = np.arange(sound.shape[1]) / rate
        phases = rng.uniform(0, 2 * np.pi, 8)
        tone = np.zeros(len(t), np.float32)
        for k in range(1, 9):
            if k * mains < rate / 2:
                tone += (np.sin(2 * np.pi * k * mains * t + phases[k - 1]) / k).astype(np.float32)
        return add_at_snr(sound, tone[None], rate, value)


@register
class Clicks(AudioKind):
    kind = "clicks"
    levels = (1.0, 3.0, 8.0, 20.0, 50.0)
    unit = "clicks_per_second"
    source = f"clicks of worn records ({RESTORATION}); {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        n = sound.shape[1]
        most = max(1, round(50 * n / rate))
        places, signs = rng.integers(0, n, most), rng.choice([-1.0, 1.0], most)
        sizes = rng.uniform(0.5, 1.0, most) * max(float(np.abs(sound).max()), 0.05)
        length = max(2, rate // 1000)
        pulse = np.exp(-np.arange(length) / (length / 4)) * np.cos(np.pi * np.arange(length) / 3)
        out = sound.copy()
        for place, size in list(zip(places, signs * sizes, strict=True))[: max(1, round(value * n / rate))]:
            end = min(n, place + length)
            out[:, place:end] += (size * pulse[: end - place]).astype(np.float32)
        return out
