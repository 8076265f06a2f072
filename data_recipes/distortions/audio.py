"""Noise on the sound: white, pink, brown, real background, hum, clicks.

Levels after TCD-VoIP and UnB-AV, spaced by ViSQOL and PESQ on speech recordings.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from data_recipes.distortions.audio_core import add_at_snr, other_sound, without_other
from data_recipes.distortions.base import Material, Rng, fault, sound
from data_recipes.distortions.references import EARS, HUM, RESTORATION, TCD, UNB

NOISE = f"{TCD} and {UNB}, background noise; {EARS}"
SNR = (35.0, 26.0, 18.0, 10.0, 2.0)


def coloured_noise(shape: tuple[int, ...], rate: int, exponent: float, rng: Rng) -> np.ndarray:
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


def noise(sound: np.ndarray, rate: int, value: float, rng: Rng, exponent: float) -> np.ndarray:
    return add_at_snr(sound, coloured_noise(sound.shape, rate, exponent, rng), rate, value)


sound("white", SNR, "snr_db", NOISE, alike="noise")(partial(noise, exponent=0.0))
sound("pink", SNR, "snr_db", NOISE, alike="noise")(partial(noise, exponent=1.0))
sound("brown", SNR, "snr_db", NOISE, alike="noise")(partial(noise, exponent=2.0))


@fault(
    "bgnoise",
    "audio",
    (30.0, 20.0, 12.0, 5.0, -3.0),
    "snr_db",
    NOISE,
    alike="noise",
    needs=lambda k, material, level: without_other(k, material, "needs another clip with sound as background"),
)
def background_noise(material: Material, value: float, rng: Rng) -> Material:
    """A random part of the sound of `Material.other` under the sound."""
    assert material.sound is not None
    assert material.other is not None
    heard = other_sound(material.other, material.rate, material.sound.shape, rng)
    return replace(material, sound=add_at_snr(material.sound, heard, material.rate, value))


@sound(
    "hum", (34.0, 26.0, 18.0, 10.0, 3.0), "snr_db", f"{HUM}; 50 or 60 Hz with seven harmonics; {EARS}", alike="noise"
)
def hum(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    mains = rng.choice([50.0, 60.0])
    t = np.arange(sound.shape[1]) / rate
    phases = rng.uniform(0, 2 * np.pi, 8)
    tone = np.zeros(len(t), np.float32)
    for k in range(1, 9):
        if k * mains < rate / 2:
            tone += (np.sin(2 * np.pi * k * mains * t + phases[k - 1]) / k).astype(np.float32)
    return add_at_snr(sound, tone[None], rate, value)


@sound(
    "clicks",
    (1.0, 3.0, 8.0, 20.0, 50.0),
    "clicks_per_second",
    f"clicks of worn records ({RESTORATION}); {EARS}",
    alike="gaps",
)
def clicks(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
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
