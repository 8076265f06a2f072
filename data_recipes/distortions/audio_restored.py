"""What rebuilding leaves of a sound: smeared spectra of neural codecs, holes of source separation, muffling."""

from __future__ import annotations

from functools import partial

import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.audio_core import active_level, band_filter
from data_recipes.distortions.base import Rng, sound

_rebuilt = partial(sound, on_request=True)


def _spectrum(sound: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """STFT [channels, bins, frames] in windows of about 21 ms, and their length."""
    from scipy.signal import stft

    size = min(1 << round(np.log2(0.0213 * rate)), 1 << int(np.log2(sound.shape[1])))
    return stft(sound, rate, nperseg=size, axis=1)[2], size


def _back(spectrum: np.ndarray, size: int, like: np.ndarray, rate: int) -> np.ndarray:
    """The sound of a spectrum, as long and as loud as `like`."""
    from scipy.signal import istft

    out = istft(spectrum, rate, nperseg=size, freq_axis=1, time_axis=2)[1][:, : like.shape[1]]
    out = np.pad(out, ((0, 0), (0, like.shape[1] - out.shape[1]))).astype(np.float32)
    return out * np.float32(min(active_level(like, rate) / active_level(out, rate), 4.0))


_NEURAL = ((96, 0.1), (64, 0.25), (40, 0.45), (24, 0.7), (12, 1.0))


@_rebuilt(
    "neural_codec",
    tuple({"bands": n, "phase": p} for n, p in _NEURAL),
    "",
    f"{ref.ENCODEC}; bands of one level, phases that are guessed; {ref.EARS}",
    alike="narrow",
    ladder=(4.4, 3.8, 3.1, 2.4, 1.7),
)
def neural_codec(sound: np.ndarray, rate: int, value: dict[str, float], rng: Rng) -> np.ndarray:
    """Each band keeps its level over three windows and loses its fine structure; phases are partly invented."""
    from scipy.ndimage import uniform_filter1d

    spectrum, size = _spectrum(sound, rate)
    guess = rng.uniform(-np.pi, np.pi, spectrum.shape)
    bins = spectrum.shape[1]
    edges = np.unique(np.round(np.geomspace(1, bins, int(value["bands"]) + 1)).astype(int))
    which = np.searchsorted(edges, np.arange(bins), side="right")
    power = np.abs(spectrum) ** 2
    level = np.stack([power[:, which == b].mean(1) for b in range(which.max() + 1)], 1)[:, which]
    level = np.sqrt(np.maximum(uniform_filter1d(level, 3, axis=2), 0))
    share = value["phase"]
    magnitude = np.abs(spectrum) * (1 - share) + level * share
    return _back(magnitude * np.exp(1j * (np.angle(spectrum) + guess * share)), size, sound, rate)


@_rebuilt(
    "separation",
    (0.3, 0.5, 0.68, 0.82, 0.93),
    "share_of_bins",
    f"{ref.PEASS}; {ref.EARS}",
    alike="gaps narrow",
    ladder=(4.5, 3.9, 3.1, 2.3, 1.6),
)
def separation(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    """The weakest parts of the spectrum are cut out by a mask that is unsure of itself: holes and musical noise."""
    spectrum, size = _spectrum(sound, rate)
    unsure = np.log(np.abs(spectrum) + 1e-9) + rng.normal(0, 0.8, spectrum.shape)
    return _back(spectrum * (unsure > np.quantile(unsure, value)), size, sound, rate)


@_rebuilt(
    "muffled",
    (5000.0, 3000.0, 1800.0, 1000.0, 550.0),
    "hertz",
    f"{ref.MASKS}; {ref.BANDS}; 12 dB per octave from here on; {ref.EARS}",
    alike="narrow",
    ladder=(4.5, 4.0, 3.3, 2.5, 1.8),
)
def muffled(sound: np.ndarray, rate: int, value: float, rng: Rng) -> np.ndarray:
    """As through cloth or a wall: the treble falls gently, the level stays."""
    out = band_filter(sound, rate, "lowpass", (value,), 2)
    return out * np.float32(min(active_level(sound, rate) / active_level(out, rate), 4.0))
