"""What the sound kinds share: level and loudness of a signal, band filters, another clip's sound, lost blocks."""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np

from data_recipes.distortions.base import Kind, Material, Rng

SILENCE = 1e-5  # linear level (-100 dB) taken where a signal has no energy at all, so that noise is still added


def active_level(sound: np.ndarray, rate: int) -> float:
    """Linear RMS of the parts that are not pauses: 20 ms blocks within 35 dB of the loudest (after ITU-T P.56)."""
    block = max(1, rate // 50)
    mono = (sound * sound).mean(0)
    if len(mono) < block:
        return float(max(np.sqrt(mono.mean()), SILENCE))
    power = mono[: len(mono) // block * block].reshape(-1, block).mean(1)
    return float(max(np.sqrt(power[power >= power.max() * 10**-3.5].mean()), SILENCE))


def add_at_snr(sound: np.ndarray, noise: np.ndarray, rate: int, snr_db: float) -> np.ndarray:
    """`sound` plus `noise` (broadcast over channels), scaled to an active-level SNR in dB."""
    power = float(np.sqrt(np.mean(np.square(noise), dtype=np.float64)))
    gain = active_level(sound, rate) / max(power, 1e-9) * 10 ** (-snr_db / 20)
    return sound + (noise * np.float32(gain)).astype(np.float32)


@lru_cache(maxsize=64)
def _sections(order: int, corners: tuple[float, ...], kind: str, rate: int) -> np.ndarray:
    from scipy.signal import butter

    limit = 0.49 * rate  # a corner above Nyquist filters nothing that is there
    where = [min(c, limit) for c in corners]
    return np.asarray(butter(order, where if len(where) > 1 else where[0], kind, fs=rate, output="sos"), np.float32)


def band_filter(sound: np.ndarray, rate: int, kind: str, corners: tuple[float, ...], order: int) -> np.ndarray:
    """Causal Butterworth "lowpass", "highpass" or "bandpass" filter with corners in Hz, float32."""
    from scipy.signal import sosfilt

    return np.asarray(sosfilt(_sections(order, corners, kind, rate).astype(np.float64), sound, axis=1), np.float32)


def resample(sound: np.ndarray, rate: int, target: int, length: int | None = None) -> np.ndarray:
    """Sound [channels, samples] at another rate, polyphase, no delay; cut or zero-padded to `length` if given."""
    from scipy.signal import resample_poly

    if rate != target:
        common = gcd(rate, target)
        sound = resample_poly(sound, target // common, rate // common, axis=1).astype(np.float32)
    return sound if length is None else fit(sound, length)


def fit(sound: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-padded at the end to `length` samples."""
    if sound.shape[1] >= length:
        return sound[:, :length]
    return np.pad(sound, ((0, 0), (0, length - sound.shape[1])))


def other_sound(other: Material, rate: int, shape: tuple[int, ...], rng: Rng) -> np.ndarray:
    """Sound [channels, samples] of another clip at `rate`: from a random place, repeated where it is too short."""
    assert other.sound is not None
    sound = resample(other.sound, other.rate, rate)
    if sound.shape[0] != shape[0]:
        sound = np.broadcast_to(sound.mean(0, keepdims=True), (shape[0], sound.shape[1]))
    spare = max(sound.shape[1] - shape[1], 0)
    first = int(rng.integers(0, spare + 1))
    repeats = -(-shape[1] // sound.shape[1])
    return np.tile(sound[:, first:], repeats)[:, : shape[1]] if not spare else sound[:, first : first + shape[1]]


def without_other(k: Kind, material: Material, needs: str) -> str | None:
    """Why a kind that mixes in the sound of `Material.other` can not do so, None when it can."""
    there = material.other is not None and material.other.sound is not None and material.other.sound.any()
    return None if there else f"{k.modality} distortion {k.kind!r} {needs}, there is none"


def loudness(sound: np.ndarray, rate: int) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4 gating); too short or silent for it: level in dB."""
    import pyloudnorm

    if sound.shape[1] >= 0.4 * rate + 1:
        measured = float(pyloudnorm.Meter(rate).integrated_loudness(sound.T.astype(np.float64)))
        if np.isfinite(measured):
            return measured
    return float(20 * np.log10(active_level(sound, rate)))


def _bursts(blocks: int, share: float, rng: Rng) -> np.ndarray:
    """Boolean mask with `share` of the blocks set (at least one), in runs of about two.

    Runs start in an order that does not depend on the share: more of them are used at higher shares.
    """
    wanted = min(blocks, max(1, round(share * blocks)))
    lost = np.zeros(blocks, bool)
    starts, lengths = rng.permutation(blocks), rng.geometric(0.5, blocks)
    for start, length in zip(starts, lengths, strict=True):
        room = wanted - int(lost.sum())
        if room <= 0:
            break
        lost[start : start + min(int(length), room)] = True
    return lost


def loud_blocks(sound: np.ndarray, block: int) -> np.ndarray:
    """Numbers of the blocks that hold sound (within 40 dB of the loudest): a gap in a pause is no fault."""
    whole = sound.shape[1] // block
    power = np.square(sound[:, : whole * block]).mean(0).reshape(whole, block).mean(1)
    return np.flatnonzero(power >= power.max() * 1e-4)


def lost_in_bursts(sound: np.ndarray, block: int, share: float, rng: Rng) -> np.ndarray:
    """Boolean mask over the blocks of a sound: `share` of those that hold sound, in runs of about two."""
    active = loud_blocks(sound, block)
    lost = np.zeros(sound.shape[1] // block, bool)
    lost[active[_bursts(len(active), share, rng)]] = True
    return lost
