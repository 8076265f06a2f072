"""Timbre: every fact moves the way its definition says when the sound is changed in that way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from mllm_avqa.evidence.spectrum import NAMES, spectrogram, timbre

RATE = 48000


def tones(seconds: float = 3.0) -> np.ndarray:
    """Notes with pauses over a faint floor, as music or speech has them."""
    t = np.arange(int(seconds * RATE)) / RATE
    rng = np.random.default_rng(1)
    out = rng.normal(0, 1e-4, t.size)
    for k, note in enumerate((220, 330, 440, 262, 392, 294)):
        part = (t >= k * 0.5) & (t < k * 0.5 + 0.4)
        shape = np.sin(np.pi * (t[part] - k * 0.5) / 0.4)
        for h in range(1, 30):
            out[part] += 0.2 / h * shape * np.sin(2 * np.pi * note * h * t[part])
    return out.astype(np.float32)


def facts(sound: np.ndarray) -> dict[str, float]:
    found = timbre(*spectrogram(sound.astype(np.float32), RATE))
    return {name: float(found[name].value) for name in NAMES if found[name].value is not None}


def test_dull_sound_has_less_treble_and_air() -> None:
    clean, dull = facts(tones()), facts(sosfilt(butter(6, 3000, fs=RATE, output="sos"), tones()))
    assert dull["treble"] < clean["treble"] - 10
    assert dull["air"] < clean["air"] - 20


def test_hiss_flattens_the_floor() -> None:
    hiss = np.random.default_rng(0).normal(0, 0.02, tones().size)
    assert facts(tones() * 0 + hiss)["floor_flatness"] == pytest.approx(0, abs=1.5)
    comb = np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE)  # one steady tone: nothing between
    assert facts(comb)["floor_flatness"] < -8


def test_holes_are_transients() -> None:
    holes = tones()
    for at in range(RATE // 4, 3 * RATE, RATE // 3):
        holes[at : at + 2000] = 0
    assert facts(holes)["transients"] > facts(tones())["transients"] + 3


def test_silence_has_no_timbre() -> None:
    found = timbre(*spectrogram(np.zeros(RATE, np.float32), RATE))
    assert all(found[name].value is None and found[name].note for name in NAMES)
