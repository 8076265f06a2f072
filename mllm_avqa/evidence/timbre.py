"""Shape of the sound's spectrum in frequency and time: describes, does not judge.

A dull, a hissing and a crackling recording differ from a clean one in these numbers, but so do a cello and a cymbal:
they have no thresholds, and it is for the model to weigh them together with the facts that judge.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mllm_avqa.evidence.catalogue import Found

_BANDS = 24  # between 100 Hz and 8 kHz, equally wide in the logarithm
_RANGE = 100.0  # dB; nothing is reported further down than this
NAMES = ("treble", "air", "floor_flatness", "transients")


def timbre(power: np.ndarray, freqs: np.ndarray) -> dict[str, Found]:
    """Four facts of a spectrogram [frames, bins] (bins at `freqs` Hz), all in dB.

    treble: power above 4 kHz against all power. air: mean power at 7-8 kHz against that at 2.5-3.5 kHz.
    floor_flatness: spectral flatness of the quietest twentieth of every band (0: hiss, low: silence between tones).
    transients: the largest hundredth of the changes of a band from frame to frame, mean over the bands.
    After the spectral descriptors of Peeters, CUIDADO report, IRCAM 2004, and AudioSpectrumFlatness of
    ISO/IEC 15938-4 (MPEG-7 Audio).
    """
    total = power.sum(axis=1)
    if total.max(initial=0.0) < 1e-9 or len(power) < 24:
        return {name: Found(None, note="silent or too short") for name in NAMES}
    heard = power[total > total.max() * 1e-4]
    mean = heard.mean(axis=0)
    edges = np.searchsorted(freqs, np.geomspace(100, 8000, _BANDS + 1))
    pieces = [power[:, a:b].mean(axis=1) for a, b in pairwise(edges) if b > a]
    bands = _db(np.stack(pieces, axis=1))
    floor = np.quantile(bands, 0.05, axis=0)[len(pieces) // 4 :]  # below 300 Hz rooms rumble
    change = np.abs(np.diff(bands, axis=0))
    return {
        "treble": Found(_ratio(mean[freqs >= 4000].sum(), mean.sum())),
        "air": Found(_ratio(_between(mean, freqs, 7000, 8000), _between(mean, freqs, 2500, 3500))),
        "floor_flatness": Found(float(floor.mean() - _db(np.mean(10 ** (floor / 10))))),
        "transients": Found(float(np.quantile(change, 0.99, axis=0).mean())),
    }


def _between(mean: np.ndarray, freqs: np.ndarray, low: float, high: float) -> float:
    part = mean[(freqs >= low) & (freqs < high)]
    return float(part.mean()) if part.size else 0.0


def _db(power: np.ndarray | float) -> np.ndarray:
    return np.asarray(10 * np.log10(np.asarray(power) + 1e-12))


def _ratio(part: float, whole: float) -> float:
    return max(-_RANGE, float(_db(part) - _db(whole)))
