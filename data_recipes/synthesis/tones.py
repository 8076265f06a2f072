"""Sound made from nothing but numpy, so that a recipe runs in a fresh clone: melodies with overtones and drum hits."""

from __future__ import annotations

import numpy as np

# Base note (Hz), notes per second, semitone steps of the melody, number of overtones, share of drum.
TONES: dict[str, tuple[float, float, tuple[int, ...], int, float]] = {
    "bells": (523.25, 3.0, (0, 4, 7, 12, 7, 4), 5, 0.0),
    "march": (196.0, 4.0, (0, 0, 7, 5, 4, 5), 8, 0.5),
    "organ": (130.81, 1.5, (0, 3, 7, 10), 12, 0.0),
    "steps": (87.31, 2.0, (0, 5, 3, 7), 6, 0.9),
}


def tone(name: str, start: float, seconds: float, rate: int = 48000) -> np.ndarray:
    """float32 [2, seconds * rate] of the endless piece `name` from `start` seconds on, peak below 0.5."""
    base, tempo, steps, overtones, drum = TONES[name]
    t = start + np.arange(round(seconds * rate)) / rate
    index = np.floor(t * tempo).astype(int)
    into = t - index / tempo  # seconds into the note
    pitch = base * 2.0 ** (np.asarray(steps)[index % len(steps)] / 12)
    envelope = np.minimum(1.0, into * 200) * np.exp(-3.0 * into)
    sound = np.zeros_like(t)
    for k in range(1, overtones + 1):
        sound += np.where(pitch * k < 0.45 * rate, np.sin(2 * np.pi * pitch * k * into) / k**1.3, 0.0)
    # A drum is a decaying noise burst; the noise is a hash of the sample index, so that any window is the same piece.
    grain = np.modf(np.sin(np.round(t * rate) * 12.9898) * 43758.5453)[0]
    sound = 0.25 * (1 - drum) * envelope * sound + 0.3 * drum * np.exp(-18.0 * into) * grain
    late = np.roll(sound, round(0.0004 * rate)) * 0.9  # a little width
    return np.stack([sound, late]).astype(np.float32)
