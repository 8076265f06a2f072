"""Facts of the sound of a clip."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mllm_avqa.evidence.catalogue import Findings, Found, median, runs
from mllm_avqa.evidence.spectrum import bandwidth, hum, noise, spectrogram, timbre
from mllm_avqa.schema.clip import AudioTrack


def measure_audio(track: AudioTrack) -> Findings:
    """All facts of `track.samples` float32 [channels, n]; spans are on the clip's clock."""
    samples = np.nan_to_num(np.asarray(track.samples, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    mono = loudest_mix(samples)
    power, freqs = spectrogram(mono, track.rate)
    out: Findings = {
        "loudness": loudness(samples, track.rate),
        "true_peak": true_peak(samples),
        "clipping": clipping(samples),
        "crest_factor": crest_factor(samples),
        "dc_offset": dc_offset(samples),
        "silence": silence(samples, track.rate, track.start),
        "dropouts": dropouts(mono, track.rate, track.start),
        "clicks": clicks(mono, track.rate),
        "hum": hum(mono, track.rate),
    }
    out |= stereo(samples)
    out |= bandwidth(power, freqs)
    out |= noise(power, freqs, out["bandwidth"].value)
    out |= timbre(power, freqs)
    return out


def loudest_mix(samples: np.ndarray) -> np.ndarray:
    """Mean of the channels [n]; the loudest channel alone where the mean cancels (opposite phase, one side silent)."""
    if samples.shape[0] == 1:
        return samples[0]
    mix = samples.mean(axis=0)
    power = np.square(samples).mean(axis=1)
    return mix if float(np.square(mix).mean()) > 0.25 * float(power.max()) else samples[int(power.argmax())]


# ---- levels of the waveform: loudness, peaks, clipping, offset, stereo ----------------------------------------------

_FLAT = 0.02  # samples within 2 % of the channel's peak belong to a top
_CROWD = 0.08  # share of samples near the top that unclipped sound may have
_OVERSAMPLED = 48  # blocks of the waveform whose true peak is looked for


def loudness(samples: np.ndarray, rate: int) -> Found:
    """Integrated loudness of float32 [channels, n] in LUFS, ITU-R BS.1770-5 with the filters of pyloudnorm.

    The gating is that of `pyloudnorm.Meter.integrated_loudness`, which takes twice as long.
    """
    from scipy.signal import sosfilt

    if samples.shape[1] <= int(0.4 * rate) + 1:
        return Found(None, note="shorter than the 0.4 s block of BS.1770")
    if samples.shape[0] >= 6:
        samples = samples[[0, 1, 2, 4, 5]]  # FFmpeg order L R C LFE Ls Rs: BS.1770 leaves the LFE out
    elif samples.shape[0] > 2:
        samples = samples[:2]
    weighted = sosfilt(_k_weighting(rate), samples.astype(np.float64), axis=1)
    blocks = int(np.round((samples.shape[1] / rate - 0.4) / 0.1)) + 1  # of 0.4 s, each a quarter after the last
    edges = (0.4 * (np.arange(blocks + 4) * 0.25) * rate).astype(int)
    quarters = np.add.reduceat(np.square(weighted[:, : edges[-1]]), edges[:-1], axis=1)
    energy = np.lib.stride_tricks.sliding_window_view(quarters, 4, axis=1).sum(axis=2)
    power = np.array((1.0, 1.0, 1.0, 1.41, 1.41))[: len(energy)] @ energy / (0.4 * rate)
    heard = power[power >= _lufs_to_power(-70.0)]
    heard = heard[heard > heard.mean() * 0.1] if heard.size else heard  # 10 LU under what is heard
    if not heard.size:
        return Found(None, note="silence: nothing passes the -70 LUFS gate")
    return Found(-0.691 + 10.0 * float(np.log10(heard.mean())))


def _lufs_to_power(level: float) -> float:
    return float(10 ** ((level + 0.691) / 10))


@lru_cache(maxsize=8)
def _k_weighting(rate: int) -> np.ndarray:
    """Second-order sections of the K-weighting filter."""
    import pyloudnorm

    shelf = pyloudnorm.IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, rate, "high_shelf")
    cut = pyloudnorm.IIRfilter(0.0, 0.5, 38.0, rate, "high_pass")
    return np.array([[*(f.passband_gain * f.b / f.a[0]), *(f.a / f.a[0])] for f in (shelf, cut)])


def true_peak(samples: np.ndarray) -> Found:
    """Highest absolute value of float32 [channels, n] after 4 times oversampling, dBTP (BS.1770-5 annex 2).

    Oversampling adds a few dB at most, so only the blocks with the highest samples are oversampled.
    """
    from scipy.signal import resample_poly

    peak = float(np.abs(samples).max(initial=0.0))
    if peak <= 0:
        return Found(None, note="digital silence")
    block, pad = 512, 64
    best = peak
    for channel in samples:
        n = channel.size // block
        if n < 3:
            best = max(best, float(np.abs(resample_poly(channel, 4, 1)).max()))
            continue
        tops = np.abs(channel[: n * block].reshape(n, block)).max(axis=1)
        likely = np.argsort(-tops, kind="stable")[:_OVERSAMPLED]
        padded = np.pad(channel, pad)
        likely = likely[tops[likely] > 0.6 * peak]
        if not likely.size:
            continue  # the peak is in another channel
        pieces = np.stack([padded[i * block : (i + 1) * block + 2 * pad] for i in likely])
        best = max(best, float(np.abs(resample_poly(pieces, 4, 1, axis=1)[:, 4 * pad : -4 * pad]).max()))
    return Found(20 * np.log10(best))


def clipping(samples: np.ndarray) -> Found:
    """Share (%) of samples pressed against the channel's own peak, worst channel.

    The larger of two shares: samples in flat tops (runs of 3 or more within 2 % of the peak), and samples of the
    active frames above 70 % of their 99th percentile, beyond the 8 % that unclipped sound may have. Lossy coding
    rounds flat tops off, the second share survives it. Relative to the peak, because clipped sound is often turned
    down afterwards.
    """
    worst = None
    for channel in samples:
        size = np.abs(channel)
        peak = float(size.max(initial=0.0))
        if peak < 1e-3 or channel.size < 64:
            continue
        at_top = size >= (1 - _FLAT) * peak
        flat = int(np.count_nonzero(at_top[1:-1] & at_top[:-2] & at_top[2:])) / channel.size
        active = _active(channel)
        crowded = float(np.mean(active > 0.7 * np.quantile(active, 0.99))) - _CROWD
        share = 100.0 * max(flat, crowded)
        worst = share if worst is None else max(worst, share)
    return Found(worst, note="" if worst is not None else "silence")


def _active(channel: np.ndarray) -> np.ndarray:
    """Absolute samples of the frames (1024) within 15 dB of the loudest one."""
    n = channel.size // 1024
    if n < 2:
        return np.abs(channel)
    frames = channel[: n * 1024].reshape(n, 1024)
    power = np.einsum("ij,ij->i", frames, frames)
    if power.max() <= 0:
        return np.abs(channel)  # all of the sound is in the incomplete last frame
    return np.abs(frames[power > power.max() * 0.03]).ravel()


def crest_factor(samples: np.ndarray) -> Found:
    """Peak (99.9 %) to mean power of the active frames of the loudest channel, dB."""
    power = np.square(samples).mean(axis=1)
    if power.max(initial=0.0) < 1e-10:
        return Found(None, note="silence")
    active = _active(samples[int(power.argmax())])
    mean, top = float(np.dot(active, active)) / active.size, float(np.quantile(active, 0.999))
    if top <= 0:
        return Found(None, note="next to silence")
    return Found(float(20 * np.log10(top) - 10 * np.log10(mean)))


def dc_offset(samples: np.ndarray) -> Found:
    """Largest mean of a channel, % of full scale."""
    return Found(100.0 * float(np.abs(samples.mean(axis=1, dtype=np.float64)).max()))


def stereo(samples: np.ndarray) -> dict[str, Found]:
    """`balance` (dB between left and right) and `stereo_correlation` (-1..1) of the first two channels."""
    if samples.shape[0] < 2:
        return {n: Found(None, note="one channel") for n in ("balance", "stereo_correlation")}
    left, right = samples[0], samples[1]
    pl, pr, cross = (float(np.dot(a, b)) / left.size for a, b in ((left, left), (right, right), (left, right)))
    if max(pl, pr) < 1e-10:
        return {n: Found(None, note="silence") for n in ("balance", "stereo_correlation")}
    difference = 10 * np.log10((pl + 1e-12) / (pr + 1e-12))
    louder = "left" if difference > 0 else "right"
    note = f"{louder} is louder" if abs(difference) > 1 else ""
    out = {"balance": Found(min(60.0, abs(float(difference))), note=note)}
    if min(pl, pr) < 1e-10:
        out["stereo_correlation"] = Found(None, note="one channel is silent")
    else:
        out["stereo_correlation"] = Found(cross / float(np.sqrt(pl * pr)))
    return out


# ---- holes, silences and clicks of the sound ------------------------------------------------------------------------

_SILENT = 1e-6  # power of -60 dBFS
_MIN_SILENCE = 0.3  # seconds
_HOP = 0.001  # seconds of the fine envelope
_HOLE = (0.004, 0.3)  # shortest and longest dropout in seconds


def silence(samples: np.ndarray, rate: int, start: float) -> Found:
    """Share (%) of float32 [channels, n] below -60 dBFS for 0.3 s or more, with spans; 10 ms frames."""
    step = max(1, rate // 100)
    n = samples.shape[1] // step
    if n < 1:
        return Found(None, note="shorter than 10 ms")
    power = np.square(samples[:, : n * step]).reshape(samples.shape[0], n, step).mean(axis=2).max(axis=0)
    spans = silences(power, step / rate, start)
    covered = sum(b - a for a, b in spans)
    note = "digital silence throughout" if not samples.any() else ""
    return Found(100.0 * covered / (n * step / rate), spans=spans, note=note)


def silences(power: np.ndarray, step: float, start: float) -> list[tuple[float, float]]:
    """Silent spans, from the mean square [n] of the loudest channel in every `step` seconds."""
    shortest = min(_MIN_SILENCE, len(power) * step)
    return [(start + a * step, start + b * step) for a, b in runs(power < _SILENT) if (b - a) * step >= shortest]


def dropouts(mono: np.ndarray, rate: int, start: float) -> Found:
    """Share (%) of the sound lost in abrupt holes of 4 to 300 ms, with spans.

    A hole lies 30 dB or more under the sound on both sides of it and below -45 dBFS. It begins with a fall of 20 dB
    within 3 ms from the level that the sound had there, where pauses of speech fade; they may well end in a jump.
    """
    step = max(1, int(rate * _HOP))
    n = mono.size // step
    if n < 100:
        return Found(None, note="shorter than 0.1 s")
    db = 10 * np.log10(np.square(mono[: n * step]).reshape(n, step).mean(axis=1) + 1e-12)
    spans = holes(db, step / rate, start)
    lost = sum(b - a for a, b in spans)
    return Found(100.0 * lost / (n * step / rate), spans=merged(spans))


def holes(db: np.ndarray, step: float, start: float) -> list[tuple[float, float]]:
    """Dropouts, from the level [n] of the mix in every `step` seconds, a thousandth or so."""
    side, n = int(_HOLE[1] / 2 / _HOP), len(db)
    low = (db < np.minimum(_recent_max(db, side), _recent_max(db[::-1], side)[::-1]) - 30) & (db < -45)
    spans = []
    for a, b in runs(low):
        if a < 3 or b > n - 3 or not _HOLE[0] <= (b - a) * step <= _HOLE[1]:
            continue
        before = float(db[a - 3 : a].max())
        fall, rise = before - float(db[a : a + 2].min()), float(db[b : b + 3].max() - db[b - 2 : b].min())
        cut = fall >= 20 and before >= float(db[max(0, a - 30) : a].max()) - 15
        if cut and rise >= 8:
            spans.append((start + a * step, start + b * step))
    return spans


def _recent_max(x: np.ndarray, n: int) -> np.ndarray:
    """Largest of the `n` values up to and including each one."""
    from scipy.ndimage import maximum_filter1d

    return maximum_filter1d(x, n, origin=(n - 1) // 2, mode="nearest")


def merged(spans: list[tuple[float, float]], gap: float = 0.03, limit: int = 40) -> list[tuple[float, float]]:
    """Neighbouring holes become one span; the longest `limit` are kept, in order."""
    out: list[tuple[float, float]] = []
    for a, b in spans:
        if out and a - out[-1][1] <= gap:
            out[-1] = (out[-1][0], b)
        else:
            out.append((a, b))
    longest = sorted(out, key=lambda s: s[0] - s[1])[:limit]
    return sorted(longest)


def clicks(mono: np.ndarray, rate: int) -> Found:
    """Clicks per second: outliers of the second difference against its surroundings of 10 ms.

    After the prediction residual of Godsill and Rayner, Digital Audio Restoration, 1998.
    """
    if mono.size < rate // 5:
        return Found(None, note="shorter than 0.2 s")
    residual = np.abs(np.diff(mono, n=3))
    block = max(16, rate // 500)  # 2 ms
    n = residual.size // block
    blocks = residual[: n * block].reshape(n, block)
    top = blocks.max(axis=1)
    usual = median(blocks)
    neighbours = np.maximum(np.median(np.stack([np.roll(usual, k) for k in (-3, -2, 2, 3)]), axis=0), usual)
    around = np.maximum.reduce([np.roll(top, k) for k in (-4, -3, 3, 4)])
    hit = (top > 12 * neighbours) & (top > 4 * around) & (top > 0.004)
    return Found(len(runs(hit)) * rate / mono.size)
