"""Facts read off the spectrogram: noise floor, SNR, bandwidth, low cut, hum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mllm_avqa.evidence.catalogue import Found

_FAR_BELOW = 50.0  # dB under the strongest part of the tilt-compensated spectrum where the sound ends
_LOWEST = -100.0  # dBFS reported for no noise at all


def spectrogram(mono: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Power [frames, bins] of Hann frames of about 21 ms with half overlap, and the bins' frequencies in Hz.

    Scaled so that the bins of one frame sum to its mean power.
    """
    n = 1 << int(np.round(np.log2(rate * 0.0213)))
    if mono.size < n:
        mono = np.pad(mono, (0, n - mono.size))
    frames = np.lib.stride_tricks.sliding_window_view(mono, n)[:: n // 2]
    window = np.hanning(n + 1)[:-1].astype(np.float32)
    import scipy.fft

    spectrum = scipy.fft.rfft(frames * window, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    power *= 2.0 / (n * float(np.square(window).sum()))
    return power, np.fft.rfftfreq(n, 1 / rate)


def noise(power: np.ndarray, freqs: np.ndarray, top: float | None) -> dict[str, Found]:
    """`noise_floor` (dBFS) and `snr` (dB), as the white noise that would fill the gaps of the spectrogram.

    Per bin between 300 Hz and 8 kHz (or nine tenths of `top`, the bandwidth) the quietest tenth of the time is taken as
    noise: minimum statistics (Martin, IEEE Trans. SAP 9(5), 2001). Of the bins the quietest fifth counts, because music
    without pauses fills the others. Digitally silent frames say nothing of the noise under the sound and are left out.
    """
    total = power.sum(axis=1)
    usable = (freqs >= 300) & (freqs <= min(8000.0, 0.9 * (top or 8000.0)))
    alive = power[total > 1e-9][:, usable]  # -90 dBFS
    if len(alive) < 24 or not usable.any():
        return {n: Found(None, note="silent or too short") for n in ("noise_floor", "snr")}
    smooth = alive[: len(alive) // 4 * 4].reshape(-1, 4, alive.shape[1]).mean(axis=1)
    k = max(0, len(smooth) // 10 - 1)
    floor = float(np.quantile(np.partition(smooth, k, axis=0)[k], 0.2)) * 8000 / float(freqs[1])
    level = float(10 * np.log10(total[total > total.max() * 1e-4].mean()))
    floor_db = max(_LOWEST, float(10 * np.log10(floor + 1e-12)))
    return {"noise_floor": Found(floor_db), "snr": Found(level - floor_db)}


def bandwidth(power: np.ndarray, freqs: np.ndarray) -> dict[str, Found]:
    """`bandwidth`: highest frequency (Hz) with sound; `low_cut`: frequency below which 5 % of the power lies.

    Sound ends where the long-term spectrum of the louder half of the frames, raised by 6 dB per octave against its
    natural tilt, stays 50 dB under its strongest part.
    """
    total = power.sum(axis=1)
    if total.max(initial=0.0) < 1e-9:
        return {n: Found(None, note="silence") for n in ("bandwidth", "low_cut")}
    mean = power[total >= np.median(total)].mean(axis=0)
    db = 10 * np.log10(np.convolve(mean, np.ones(5) / 5, "same") + 1e-14)
    tilted = db + 20 * np.log10(np.maximum(freqs, 200.0) / 1000.0)
    strongest = float(np.sort(tilted)[-max(3, len(tilted) // 50) :].mean())
    top = float(freqs[np.flatnonzero(tilted >= strongest - _FAR_BELOW)[-1]])
    low = float(freqs[int(np.searchsorted(np.cumsum(mean) / mean.sum(), 0.05))])
    return {"bandwidth": Found(top, note=f"sampled at {2 * freqs[-1]:.0f} Hz"), "low_cut": Found(low)}


def hum(mono: np.ndarray, rate: int) -> Found:
    """Prominence (dB) of the third strongest of the first six harmonics of 50 or 60 Hz, above their surroundings.

    The spectrum is the lower quartile over half-second frames: notes of music come and go, hum stays. Three harmonics
    are required because a single steady bass note is common.
    """
    from scipy.signal import decimate

    if mono.size < 2 * rate:
        return Found(None, note="shorter than 2 s")
    factor = max(1, rate // 2000)
    low = mono
    for f in _factors(factor):
        low = decimate(low, f, ftype="fir").astype(np.float32)
    r = rate / factor
    n = int(r)  # 1 s: 1 Hz per bin
    hop = n // 4
    frames = np.lib.stride_tricks.sliding_window_view(low, n)[::hop]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(n).astype(np.float32), axis=1))
    steady = 20 * np.log10(np.quantile(spectrum, 0.2, axis=0) + 1e-7)
    best = 0.0
    base = 0
    for mains in (50, 60):
        heights = []
        for k in range(1, 7):
            centre = round(k * mains * n / r)
            if centre + 16 >= steady.size:
                break
            around = np.concatenate([steady[max(1, centre - 16) : centre - 4], steady[centre + 5 : centre + 17]])
            heights.append(float(steady[centre - 1 : centre + 2].max() - np.median(around)))
        third = sorted(heights)[-3] if len(heights) >= 3 else 0.0
        if third > best:
            best, base = third, mains
    return Found(best, note=f"at multiples of {base} Hz" if best >= 8 else "")


def _factors(factor: int) -> list[int]:
    """Decimation in steps of at most 13, as scipy advises."""
    out = []
    for p in (8, 6, 5, 4, 3, 2):
        while factor % p == 0 and factor > 1:
            out.append(p)
            factor //= p
    return out + ([factor] if factor > 1 else [])


# ---- shape of the sound's spectrum in frequency and time: describes, does not judge ---------------------------------

# A dull, a hissing and a crackling recording differ from a clean one in these numbers, but so do a cello and a cymbal:
# they have no thresholds, and it is for the model to weigh them together with the facts that judge.

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
