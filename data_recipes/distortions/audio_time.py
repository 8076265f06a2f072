"""Sound faults in time: reverberation, echo, gaps, missing pieces, wobbling pitch.

Levels after TCD-VoIP and UnB-AV, spaced by ViSQOL and PESQ on speech recordings.
"""

from __future__ import annotations

import numpy as np

from data_recipes.distortions.audio_core import AudioKind, active_level
from data_recipes.distortions.base import register
from data_recipes.distortions.references import DOSE, EARS, REVERBERATION, TCD, UNB, WOW


@register
class Reverb(AudioKind):
    kind = "reverb"
    levels = (
        {"rt60_s": 0.25, "wet": 0.25},
        {"rt60_s": 0.5, "wet": 0.4},
        {"rt60_s": 0.9, "wet": 0.55},
        {"rt60_s": 1.6, "wet": 0.75},
        {"rt60_s": 2.8, "wet": 1.0},
    )
    unit = ""
    source = f"{REVERBERATION}; spaced by the mean of ViSQOL and PESQ"

    def change(self, sound: np.ndarray, rate: int, value: dict[str, float], rng: np.random.Generator) -> np.ndarray:  # type: ignore[override]
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


@register
class Echo(AudioKind):
    kind = "echo"
    levels = (
        {"delay_s": 0.12, "gain": 0.1},
        {"delay_s": 0.16, "gain": 0.2},
        {"delay_s": 0.2, "gain": 0.35},
        {"delay_s": 0.26, "gain": 0.55},
        {"delay_s": 0.34, "gain": 0.8},
    )
    unit = ""
    source = f"{TCD} and {UNB}, echo; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: dict[str, float], rng: np.random.Generator) -> np.ndarray:  # type: ignore[override]
        out = sound.copy()
        for repeat in (1, 2):  # the second repeat comes with the gain squared
            lag = round(value["delay_s"] * repeat * rate)
            if lag < sound.shape[1]:
                out[:, lag:] += np.float32(value["gain"] ** repeat) * sound[:, :-lag]
        return out


def _bursts(blocks: int, share: float, rng: np.random.Generator) -> np.ndarray:
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


def _loud_blocks(sound: np.ndarray, block: int) -> np.ndarray:
    """Numbers of the blocks that hold sound (within 40 dB of the loudest): a gap in a pause is no fault."""
    whole = sound.shape[1] // block
    power = np.square(sound[:, : whole * block]).mean(0).reshape(whole, block).mean(1)
    return np.flatnonzero(power >= power.max() * 1e-4)


@register
class Dropout(AudioKind):
    kind = "dropout"
    levels = (0.01, 0.03, 0.07, 0.15, 0.3)
    unit = "share_of_packets"
    source = f"{TCD}, lost packets of 20 ms in bursts; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        block = min(round(0.02 * rate), sound.shape[1])
        active = _loud_blocks(sound, block)
        lost = np.zeros(sound.shape[1] // block, bool)
        lost[active[_bursts(len(active), value, rng)]] = True
        gain = np.ones(sound.shape[1], np.float32)
        gain[: len(lost) * block] = np.repeat(~lost, block)
        return sound * gain


@register
class Chop(AudioKind):
    """30 ms pieces are cut out and the sound closes up; once a second it waits for the time that is gone.

    So the sound is never more than a third of a second early, and the fault stays one of the sound, not of sync.
    """

    kind = "chop"
    levels = (0.02, 0.05, 0.1, 0.18, 0.3)
    unit = "share_removed"
    source = f"{TCD} and {UNB}, chop; 30 ms pieces; {EARS}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
        block = min(round(0.03 * rate), sound.shape[1])
        active = _loud_blocks(sound, block)
        gone = np.zeros(sound.shape[1] // block, bool)
        gone[rng.permutation(active)[: max(1, round(value * len(active)))]] = True
        keep = np.ones(sound.shape[1], bool)
        keep[: len(gone) * block] = np.repeat(~gone, block)
        out = np.zeros_like(sound)
        for at in range(0, sound.shape[1], rate):
            kept = sound[:, at : at + rate][:, keep[at : at + rate]]
            out[:, at : at + kept.shape[1]] = kept
        return out


@register
class Wow(AudioKind):
    kind = "wow"
    levels = (0.001, 0.003, 0.008, 0.018, 0.04)
    unit = "pitch_depth"
    source = f"{WOW}, wobble at 0.8 to 4 Hz; {DOSE}"

    def change(self, sound: np.ndarray, rate: int, value: float, rng: np.random.Generator) -> np.ndarray:
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
