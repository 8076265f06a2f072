"""Other looks of a clean picture: darker, paler, warmer, mirrored. No faults: what a scene can look like untouched.

Without them a tower takes the look of a scene that it never saw (a dark wood, a dim film) for a fault. The palest looks
reach what `low_contrast` and `desat` do at level 2 or 3: of a picture alone nobody can tell these apart.
"""

from __future__ import annotations

import cv2
import numpy as np

GAMMA = (0.75, 2.4)  # above 1: darker middle tones, as in a film that plays at night
BLACK = (0.0, 26.0)  # where black ends up
WHITE = (178.0, 255.0)  # and white
TINT = 0.12  # spread of the logarithm of each colour's gain; none is above 1
COLOUR = (0.25, 1.3)  # saturation
MIRRORED = 0.5


def another_look(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames uint8 [n, h, w, 3], all of them graded alike."""
    gamma = float(np.exp(rng.uniform(*np.log(GAMMA))))
    black, white = rng.uniform(*BLACK), rng.uniform(*WHITE)
    gains = np.minimum(1.0, np.exp(rng.normal(0, TINT, 3)))
    curve = (np.arange(256) / 255.0) ** gamma
    table = black + gains[None] * (white - black) * curve[:, None]  # [256, 3]
    colour = float(rng.uniform(*COLOUR))
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    mix = (colour * np.eye(3, dtype=np.float32) + (1 - colour) * grey[None]).astype(np.float32)
    if rng.random() < MIRRORED:
        frames = frames[:, :, ::-1]
    lut = np.rint(table).astype(np.uint8)[None]  # [1, 256, 3]
    return np.stack([cv2.transform(cv2.LUT(np.ascontiguousarray(f), lut), mix) for f in frames])
