"""Sound faults in time: reverberation, echo, gaps, missing pieces, wobbling pitch.

Levels after TCD-VoIP and UnB-AV, spaced by ViSQOL and PESQ on speech recordings.
"""

from __future__ import annotations

import numpy as np

from data_recipes.distortions.audio_core import active_level, lost_in_bursts, loud_blocks
from data_recipes.distortions.base import Rng, sound
from data_recipes.distortions.references import DOSE, EARS, REVERBERATION, TCD, UNB, WOW

_ROOMS = ((0.25, 0.25), (0.5, 0.4), (0.9, 0.55), (1.6, 0.75), (2.8, 1.0))
_ECHOES = ((0.12, 0.1), (0.16, 0.2), (0.2, 0.35), (0.26, 0.55), (0.34, 0.8))


@sound(
    "reverb",
    tuple({"rt60_s": t, "wet": w} for t, w in _ROOMS),
    "",
    f"{REVERBERATION}; spaced by the mean of ViSQOL and PESQ",
    alike="room",
)
def reverb(sound: np.ndarray, rate: int, value: dict[str, float], rng: Rng) -> np.ndarray:
    from scipy.signal import oaconvolve

    n = sound.shape[1]
    length = min(round(value["rt60_s"] * rate), n)
    t = np.arange(length, dtype=np.float32) / rate
    tail = rng.standard_normal((sound.shape[0], round(2.8 * rate)), dtype=np.float32)[:, :length]
    tail *= np.exp(-6.91 * t / value["rt60_s"])  # -60 dB after RT60
    tail[:, : min(length, rate // 100)] = 0  # the first reflection comes after 10 ms
    wet = oaconvolve(sound, tail, axes=1)[:, :n]
    wet *= value["wet"] * active_level(sound, rate) / max(float(np.sqrt(np.mean(wet * wet))), 1e-9)
    return sound * np.float32(1 - 0.6 * value["wet"]) + wet


@sound("echo", tuple({"delay_s": d, "gain": g} for d, g in _ECHOES), "", f"{TCD} and {UNB}, echo; {EARS}", alike="room")
def echo(sound: np.ndarray, rate: int, value: dict[str, float], rng: Rng) -> np.ndarray:
    out = sound.copy()
    for repeat in (1, 2):  # the second repeat comes with the gain squared
        lag = round(value["delay_s"] * repeat * rate)
        if lag < sound.shape[1]:
            out[:, lag:] += np.float32(value["gain"] ** repeat) * sound[:, :-lag]
    return out


@sound(
    "dropout",
    (0.01, 0.03, 0.07, 0.15, 0.3),
    "share_of_packets",
    f"{TCD}, lost packets of 20 ms in bursts; {EARS}",
    alike="gaps",
)
def dropout(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    block = min(round(0.02 * rate), sound.shape[1])
    lost = lost_in_bursts(sound, block, value, rng)
    gain = np.ones(sound.shape[1], np.float32)
    gain[: len(lost) * block] = np.repeat(~lost, block)
    return sound * gain


@sound(
    "chop", (0.02, 0.05, 0.1, 0.18, 0.3), "share_removed", f"{TCD} and {UNB}, chop; 30 ms pieces; {EARS}", alike="gaps"
)
def chop(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    """30 ms pieces are cut out and the sound closes up; once a second it waits for the time that is gone.

    So the sound is never more than a third of a second early, and the fault stays one of the sound, not of sync.
    """
    block = min(round(0.03 * rate), sound.shape[1])
    active = loud_blocks(sound, block)
    gone = np.zeros(sound.shape[1] // block, bool)
    gone[rng.permutation(active)[: max(1, round(value * len(active)))]] = True
    keep = np.ones(sound.shape[1], bool)
    keep[: len(gone) * block] = np.repeat(~gone, block)
    out = np.zeros_like(sound)
    for at in range(0, sound.shape[1], rate):
        kept = sound[:, at : at + rate][:, keep[at : at + rate]]
        out[:, at : at + kept.shape[1]] = kept
    return out


@sound(
    "wow",
    (0.001, 0.003, 0.008, 0.018, 0.04),
    "pitch_depth",
    f"{WOW}, wobble at 0.8 to 4 Hz; {DOSE}",
    ladder=(4.7, 4.1, 3.2, 2.2, 1.5),
)
def wow(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    speed = rng.uniform(0.8, 4.0)
    n = sound.shape[1]
    t = np.arange(n) / rate
    # Pitch deviation is the derivative of the delay: depth * sin(w t) comes of a delay of depth / w * cos(w t).
    turn = 2 * np.pi * speed
    delay = value / turn * (1 - np.cos(turn * t))
    where = np.clip(np.arange(n) - delay * rate, 0, n - 1)
    # Linear interpolation dulls the top octave; four times oversampled it does not, but a table of cubic weights
    # is cheaper (Catmull-Rom).
    i = np.minimum(where.astype(np.int64), n - 2) if n > 1 else np.zeros(n, np.int64)
    f = (where - i).astype(np.float32)
    padded = np.pad(sound, ((0, 0), (1, 2)), mode="edge")
    a, b, c, d = (padded[:, i + k] for k in range(4))
    return b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
