"""Sound against picture: exact facts from timestamps and, only where the evidence is overwhelming, from the content."""

from __future__ import annotations

import numpy as np

from mllm_avqa.evidence.catalogue import FACTS, Findings, Found
from mllm_avqa.schema.clip import AudioTrack, Clip, VideoTrack

_RATE = 100.0  # Hz of the common time grid
_EDGE = 0.25  # s cut off both ends: the start transients of both features fake a peak at 0 ms
_MAX_LAG = 1.0  # s
_RATIO = 1.9  # best peak against the best one elsewhere; below that the estimate was random on real clips
_AGREE = 0.08  # s by which the two estimates may differ
_MIN_SECONDS = 3.0


def measure_sync(clip: Clip) -> Findings:
    """`av_start_offset`, `av_duration_difference`, `timestamp_gaps` and `av_content_offset`, all in ms."""
    out: Findings = {}
    gaps = _gaps(clip)
    if gaps is not None:
        out["timestamp_gaps"] = gaps
    video, audio = clip.info.video, clip.info.audio
    if video is None or audio is None or video.still:
        return out
    offset = 1000.0 * (audio.start - video.start)
    word = "sound starts later" if offset > 0 else "sound starts earlier"
    out["av_start_offset"] = Found(offset, note=word if abs(offset) >= 1 else "")
    if video.duration is None or audio.duration is None:
        out["av_duration_difference"] = Found(None, note="the container does not tell both durations")
    else:
        out["av_duration_difference"] = Found(1000.0 * (audio.duration - video.duration))
    if clip.video is not None and clip.audio is not None:
        out["av_content_offset"] = _content_offset(clip.video, clip.audio)
    return out


def _gaps(clip: Clip) -> Found | None:
    """Skips in the timestamps: those of the sound as told by the reader, frames more than 3 intervals apart."""
    spans: list[tuple[float, float]] = []
    if clip.audio is not None:
        spans.extend(clip.audio.gaps)
    if clip.video is not None and len(clip.video.thumb_pts) >= 4:
        pts = np.asarray(clip.video.thumb_pts, dtype=np.float64)
        step = np.diff(pts)
        usual = float(np.median(step))
        for i in np.flatnonzero(step > max(3.5 * usual, 0.1)):
            spans.append((float(pts[i]) + usual, float(pts[i + 1])))
    elif clip.audio is None:
        return None
    return Found(1000.0 * sum(b - a for a, b in spans), spans=sorted(spans))


def _content_offset(video: VideoTrack, audio: AudioTrack) -> Found:
    """Lag of sound onsets behind motion onsets; None unless two feature pairs agree and both have a lone peak.

    Features: motion energy and its rise against sound level rise and high-band rise, 0.4-12 Hz, correlated over +-1 s.
    Without learnt weights this is right only on clips with sharp visible events, hence the gate.
    """
    unsure = Found(None, note="not measurable from the content")
    rate, pts = audio.rate, np.asarray(video.thumb_pts, dtype=np.float64)
    if len(pts) < 16:
        return unsure
    start = max(float(pts[1]), audio.start)
    end = min(float(pts[-1]), audio.start + audio.samples.shape[1] / rate)
    if end - start < _MIN_SECONDS:
        return unsure
    grid = np.arange(start, end, 1 / _RATE)
    flat = video.thumbs[:, ::2, ::2].reshape(len(pts), -1).astype(np.int16)
    motion = np.abs(np.diff(flat, axis=0)).mean(axis=1)
    motion = np.minimum(motion, np.quantile(motion, 0.98))  # cuts must not decide
    seen = np.interp(grid, pts[1:], motion)
    mono = audio.samples.mean(axis=0)
    heard = [_onsets(x, rate, audio.start, grid) for x in (mono, np.diff(mono, prepend=mono[:1]))]
    if seen.std() < 1e-3 or min(h.std() for h in heard) < 1e-3:
        return unsure
    lags = [_lag(a, b) for a, b in ((np.maximum(np.gradient(seen), 0), heard[0]), (seen, heard[1]))]
    if any(ratio < _RATIO for _, ratio in lags) or abs(lags[0][0] - lags[1][0]) > _AGREE:
        return unsure
    confidence = min(ratio for _, ratio in lags)
    return Found(500.0 * (lags[0][0] + lags[1][0]), note=f"estimate from onsets, peak ratio {confidence:.1f}")


def _onsets(mono: np.ndarray, rate: int, start: float, grid: np.ndarray) -> np.ndarray:
    """Rise of the level in dB, 10 ms frames, on the time grid."""
    step = max(1, round(rate / _RATE))
    n = mono.size // step
    db = 10 * np.log10(np.square(mono[: n * step]).reshape(n, step).mean(axis=1) + 1e-7)
    rise = np.maximum(np.diff(db, prepend=db[:1]), 0.0)
    return np.interp(grid, start + (np.arange(n) + 0.5) * step / rate, rise)


def _lag(seen: np.ndarray, heard: np.ndarray) -> tuple[float, float]:
    """(lag in s of `heard` behind `seen`, height of the peak against the best peak more than 0.15 s away)."""
    from scipy.signal import butter, sosfiltfilt

    band = butter(2, (0.4, 12.0), btype="band", fs=_RATE, output="sos")
    cut = int(_EDGE * _RATE)
    a, b = (sosfiltfilt(band, x)[cut:-cut] for x in (seen, heard))
    a, b = (a - a.mean()) / (a.std() + 1e-12), (b - b.mean()) / (b.std() + 1e-12)
    limit = int(_MAX_LAG * _RATE)
    limit = min(limit, len(a) // 2)
    middle = len(a) - 1  # index of lag 0
    corr = np.correlate(b, a, mode="full")[middle - limit : middle + limit + 1] / len(a)
    best = int(corr.argmax())
    away = np.abs(np.arange(corr.size) - best) > 15
    return (best - limit) / _RATE, float(corr[best] / max(corr[away].max(), 1e-6))


# ---- facts of the container: resolution and coded bits per pixel, damage --------------------------------------------

# Bits that a codec needs for the picture H.264 makes of one bit (rough, from published codec comparisons).
_EFFICIENCY = {"hevc": 0.6, "vp9": 0.65, "av1": 0.5, "mpeg4": 1.6, "mpeg2video": 2.0, "mjpeg": 6.0, "h263": 1.8}


def measure_stream(clip: Clip) -> Findings:
    """`resolution`, `bitrate` and `decode_errors`; needs no decoded frames beyond the count of damage."""
    info = clip.info.video
    if info is None:
        return {}
    out: Findings = {"resolution": Found(float(min(info.width, info.height)), note=f"{info.width}x{info.height}")}
    if clip.video is not None:
        out["decode_errors"] = Found(float(clip.video.damaged))
    if info.still:
        out["bitrate"] = Found(None, note="a still image")
    elif not info.bitrate or not info.fps or info.width * info.height == 0:
        out["bitrate"] = Found(None, note="the container does not tell the bit rate or the frame rate")
    else:
        bits = info.bitrate / (info.width * info.height * info.fps)
        # Graded as the H.264 rate that looks alike, so that an efficient codec is not called poor for being efficient.
        severity = FACTS["bitrate"].severity(bits / _EFFICIENCY.get(info.codec, 1.0))
        out["bitrate"] = Found(bits, note=f"{info.codec} {info.bitrate / 1000:.0f} kbit/s", severity=severity)
    return out
