"""What networks and low rates do to sound: concealed losses, long gaps, waveform codecs of telephone lines.

Doses are those of published models, for the levels given here.
"""

from __future__ import annotations

import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.audio_codec import coded
from data_recipes.distortions.audio_core import lost_in_bursts
from data_recipes.distortions.base import Rng, sound

PACKET = 0.02  # s


@sound(
    "concealed",
    (0.02, 0.05, 0.1, 0.2, 0.35),
    "share_of_packets",
    f"{ref.EMODEL}, packets of 20 ms in bursts of two; {ref.CONCEALMENT}",
    on_request=True,
    alike="gaps",
    ladder=(4.2, 3.8, 3.1, 2.0, 1.2),
)
def concealed(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    """A lost packet is the last pitch period heard, over and over, fading in 60 ms: robotic syllables."""
    block = min(round(PACKET * rate), sound.shape[1])
    out = sound.copy()
    last, run = sound[:, :0], 0  # the period that is repeated, packets lost in a row
    for k, gone in enumerate(lost_in_bursts(sound, block, value, rng)):
        run = run + 1 if gone else 0
        at = k * block
        if run == 1:
            last = out[:, at - _pitch_period(out[:, max(at - 2 * block, 0) : at].mean(0), rate) : at]
        if run:
            again = np.resize(last.T, (run * block, len(sound)))[-block:].T if last.size else 0
            fade = np.clip(1 - (run - 1 + np.arange(block) / block) / 3, 0, 1).astype(np.float32)
            out[:, at : at + block] = again * fade
    return out


def _pitch_period(heard: np.ndarray, rate: int) -> int:
    """Samples of the strongest repetition, 2.5 to 15 ms, at the end of `heard`."""
    low, high = max(1, round(0.0025 * rate)), min(round(0.015 * rate), len(heard) // 2)
    if high <= low:
        return high
    match = np.correlate(
        heard[: len(heard) - low], heard[-high:], "valid"
    )  # entry m: the end against itself, lag later
    first = len(heard) - 2 * high
    return high - int(np.argmax(match[first:]))


@sound(
    "gaps",
    (0.03, 0.08, 0.15, 0.28, 0.45),
    "share_of_clip",
    f"{ref.STALLING}; {ref.YOUTUBE}, three of them",
    on_request=True,
    alike="gaps",
    ladder=(4.0, 3.4, 2.7, 2.0, 1.4),
)
def gaps(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    """Three silences, in each third of the clip one; the sound is in step again after each."""
    n, part = sound.shape[1], sound.shape[1] / 3
    gain = np.ones(n, np.float32)
    for k, centre in enumerate(rng.uniform(0.25, 0.75, 3)):
        first, last = (round((k + np.clip(centre + side * value / 2, 0, 1)) * part) for side in (-1, 1))
        gain[first:last] = 0
    fade = max(1, round(0.004 * rate))
    return (
        sound * np.convolve(np.pad(gain, fade // 2 + 1, mode="edge"), np.ones(fade) / fade, "same")[fade // 2 + 1 :][:n]
    )


@sound(
    "low_rate",
    ({"kbit_s": 40}, {"kbit_s": 32}, {"kbit_s": 24}, {"kbit_s": 16}, {"kbit_s": 16, "passes": 2}),
    "",
    f"{ref.EMODEL}: G.726 impairs by 2, 7, 25 and 50; on the scale of wide band, ITU-T G.107.1",
    on_request=True,
    alike="narrow noise",
    ladder=(3.6, 3.4, 2.7, 1.8, 1.2),
)
def low_rate(sound: np.ndarray, rate: int, value: dict[str, float], rng: Rng) -> np.ndarray:
    """Telephone band in few bits a sample; at the worst level twice, half a sample out of step (in step it is free)."""
    mono, out = {**value, "channels": 1}, sound
    for k in range(int(value.get("passes", 1))):
        late = min(k * rate // 16000, sound.shape[1] - 1)
        out = coded(
            np.pad(out, ((0, 0), (late, 0))), rate, mono, rng, codec="adpcm_g726", container="wav", rates=(8000,)
        )
        out = out[:, late:]
    return out
