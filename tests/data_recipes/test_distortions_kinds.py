"""Every kind: same shapes, same result per seed, a difference from the input, and more of it at higher levels."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest

from data_recipes.distortions import REGISTRY, Caption, Material, distort, draw_captions, video_codec
from data_recipes.distortions.base import Kind

FPS, RATE = 12.0, 48000
TALE = "Once upon a time there was a little girl who lived near the forest with her old grandmother"


def picture(seed: int, n: int = 16, h: int = 96, w: int = 128) -> np.ndarray:
    """A coloured texture that moves by a pixel per frame over a slow gradient: [n, h, w, 3]."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.uniform(0, 255, (h, w + n, 3)).astype(np.float32), (0, 0), 1.2)
    field = (field - 127) * 1.6 + np.linspace(70, 180, w + n, dtype=np.float32)[None, :, None] + [15, 0, -15]
    return np.stack([np.clip(field[:, i : i + w], 0, 255).astype(np.uint8) for i in range(n)])


def speech_like(seed: int, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """Syllables of a wandering voice, slightly different in both channels: [2, samples]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = np.cumsum(140 + 30 * np.sin(2 * np.pi * 1.3 * t + seed)) * 2 * np.pi / rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 60))
    breath = rng.standard_normal((2, len(t))) * 0.02
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * t) + 0.4, 0, 1) ** 2
    sound = (np.stack([voice, 0.8 * voice]) + breath) * syllables
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


@cache
def material() -> Material:
    return Material(picture(1), FPS, speech_like(1), RATE, other=Material(picture(2), FPS, speech_like(2), RATE))


@cache
def captioned() -> Material:
    """16 s, so that the largest caption offset (8 s) leaves lines in the clip."""
    words = TALE.split()
    lines = [Caption(4.0 * i, 4.0 * i + 4.0, " ".join(words[i * 5 : i * 5 + 5])) for i in range(4)]
    return Material(picture(3), 1.0, captions=lines, transcript=TALE)


@cache
def one_burst() -> Material:
    """4 s of faint noise with a burst at 3.2 s: its place tells how far the sound was moved by then."""
    sound = np.random.default_rng(4).standard_normal((2, 4 * RATE)).astype(np.float32) * 1e-3
    sound[:, 153600:156000] += (0.5 * np.sin(np.arange(2400) * 0.1) * np.hanning(2400)).astype(np.float32)
    return Material(picture(1), 4.0, sound, RATE, other=Material(sound=speech_like(2, 4.0), rate=RATE))


@cache
def long() -> Material:
    """Four seconds at 25 frames a second: room for one per cent of the frames."""
    return Material(picture(7, 100, 24, 32), 25.0)


@cache
def high() -> Material:
    """Four frames at 360 lines: room for letters of one per cent of the height."""
    frames = np.clip(picture(6, 4, 360, 480).astype(int) // 2, 0, 255).astype(np.uint8)
    return Material(frames, 2.0, captions=[Caption(0.0, 2.0, "Whoever reads this has good eyes")])


def subject(kind: Kind) -> Material:
    if kind.kind in ("drift", "unrelated_sound"):
        return one_burst()
    if kind.kind in ("framedrop", "jerky", "freeze", "black_frames"):
        return long()
    if kind.kind == "mosaic":
        return replace(high(), captions=[])
    if kind.kind.endswith("_text"):
        return high()
    return captioned() if kind.modality == "text" else material()


def spectrum(sound: np.ndarray) -> np.ndarray:
    """Log-magnitude spectrogram in dB, floored at -80: unlike the waveform it does not care for phase."""
    blocks = sound[:, : sound.shape[1] // 512 * 512].reshape(sound.shape[0], -1, 512) * np.hanning(512)
    return 20 * np.log10(np.maximum(np.abs(np.fft.rfft(blocks)), 1e-4))


def mean_square(a: Material, b: Material) -> float:
    return float(np.mean(np.square(a.frames.astype(np.float32) - b.frames)))


def spectral(a: Material, b: Material) -> float:
    return float(np.mean(np.abs(spectrum(a.sound) - spectrum(b.sound))))


def waveform(a: Material, b: Material) -> float:
    return float(np.mean(np.square(a.sound - b.sound)))


def changed_share(a: Material, b: Material) -> float:
    """Share of frames that are not what they were."""
    return float(np.mean([(x != y).any() for x, y in zip(a.frames, b.frames, strict=True)]))


def zeros_share(a: Material, b: Material) -> float:
    return float(np.mean(b.sound == 0))


def dynamics_lost(a: Material, b: Material) -> float:
    """How far the crest factor (peak over RMS) fell."""

    def crest(s: np.ndarray) -> float:
        return float(np.abs(s).max() / np.sqrt(np.mean(s * s)))

    return crest(a.sound) - crest(b.sound)


def lag(a: Material, b: Material) -> float:
    """Milliseconds between the envelopes at the best match."""

    def envelope(s: np.ndarray) -> np.ndarray:
        power = np.square(s).mean(0)
        return power[: len(power) // 48 * 48].reshape(-1, 48).mean(1)

    x, y = envelope(a.sound), envelope(b.sound)
    return float(abs(int(np.argmax(np.correlate(y, x, "full"))) - (len(x) - 1)))


def foreign(a: Material, b: Material) -> float:
    """Share of the clip by which its own sound was moved round, up to 0.5; 1 and more: share that is another's."""
    spectra = [np.fft.rfft(m.sound[0].astype(np.float64)) for m in (b, a)]
    match = np.fft.irfft(spectra[0] * np.conj(spectra[1]))
    if match.max() > 0.9 * float(np.sum(a.sound[0].astype(np.float64) ** 2)):
        at = int(np.argmax(match)) / len(match)
        return min(at, 1 - at)
    return 1.0 + float(np.mean(np.abs(a.sound - b.sound).max(0) > 1e-6))


def displaced(a: Material, b: Material) -> float:
    """Seconds the first common line moved."""
    times = {c.text: (c.start, c.end) for c in a.captions}
    return max(max(abs(c.start - times[c.text][0]), abs(c.end - times[c.text][1])) for c in b.captions)


def words_wrong(a: Material, b: Material) -> float:
    said, shown = (" ".join(c.text for c in m.captions).split() for m in (a, b))
    return sum(x != y for x, y in zip(said, shown, strict=True)) / len(said)


def time_gone(a: Material, b: Material) -> float:
    return sum(c.end - c.start for c in a.captions) - sum(c.end - c.start for c in b.captions)


def reading_speed(a: Material, b: Material) -> float:
    return float(np.mean([len(c.text) / (c.end - c.start) for c in b.captions]))


def faintness(a: Material, b: Material) -> float:
    """The less a line stands out the worse: minus the mean square it puts into the picture."""
    return -mean_square(a, b)


def unlike_legible(a: Material, b: Material) -> float:
    """Mean square between these letters and legible ones."""
    return mean_square(draw_captions(a), b)


MEASURES = {
    "jerky": changed_share,
    "framedrop": changed_share,
    "freeze": changed_share,
    "black_frames": changed_share,
    "dropout": zeros_share,
    "chop": zeros_share,
    "overcomp": dynamics_lost,
    "echo": waveform,
    "hum": waveform,
    "imbalance": waveform,
    "antiphase": waveform,
    "unrelated_sound": foreign,
    "caption_offset": displaced,
    "caption_mismatch": words_wrong,
    "caption_speed": reading_speed,
    "missing_caption": time_gone,
    "illegible_text": faintness,
    "small_text": faintness,
    "faint_text": faintness,
    "blurred_text": unlike_legible,
    "compressed_text": unlike_legible,
}
DEFAULTS = {"video": mean_square, "audio": spectral, "sync": lag}
# measured values that may fall by this share between levels: the five AMR rates are nearly equal, and codecs on a
# second of a synthetic voice do not order as finely as on speech
SLACK = {"amr": 0.1, "opus": 0.15, "alias": 0.01, "packet_loss": 0.01, "low_rate": 0.01}


@pytest.mark.parametrize("kind", list(REGISTRY))
def test_kind_is_a_fault_that_grows_with_its_level(kind: str) -> None:
    source = subject(REGISTRY[kind])
    frames, sound = (None if x is None else x.copy() for x in (source.frames, source.sound))
    measure = MEASURES.get(kind) or DEFAULTS[REGISTRY[kind].modality]
    damage = []
    for level in range(1, 6):
        changed, fault = distort(source, kind, level, seed=7)
        assert (fault.kind, fault.level, fault.modality) == (kind, level, REGISTRY[kind].modality)
        assert (fault.start, fault.end) == (0, source.duration)
        assert fault.parameters
        if frames is not None:
            assert changed.frames.dtype == np.uint8
            assert changed.frames.shape == frames.shape
        if sound is not None:
            assert changed.sound.dtype == np.float32
            assert changed.sound.shape == sound.shape
            assert np.isfinite(changed.sound).all()
        damage.append(measure(source, changed))
        touched = {"video": "frames", "audio": "sound", "sync": "sound", "text": "captions"}[REGISTRY[kind].modality]
        assert not np.array_equal(getattr(changed, touched), getattr(source, touched))
        for other in {"frames", "sound"} - {touched} - ({"frames"} if kind.endswith("_text") else set()):
            assert getattr(changed, other) is getattr(source, other)
    slack = SLACK.get(kind, 0.0)
    assert all(low <= high + slack * abs(high) + 1e-9 for low, high in pairwise(damage)), damage
    assert damage[0] < damage[2] * (1 + slack), damage
    assert damage[2] < damage[4] * (1 + slack), damage
    assert damage[0] < damage[4], damage
    if frames is not None:
        assert np.array_equal(frames, source.frames), "input was modified"
    if sound is not None:
        assert np.array_equal(sound, source.sound), "input was modified"


@pytest.mark.parametrize("kind", list(REGISTRY))
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_same_seed_same_result(kind: str, level: int) -> None:
    source = subject(REGISTRY[kind])
    (a, fault), (b, again) = (distort(source, kind, level, seed=11) for _ in range(2))
    assert fault == again
    assert a.captions == b.captions
    for x, y in ((a.frames, b.frames), (a.sound, b.sound)):
        assert np.array_equal(x, y) if x is not None else y is None


@pytest.mark.parametrize("kind", ["gnoise", "motion_blur", "packet_loss", "white", "clicks", "dropout", "hum", "cast"])
def test_another_seed_another_draw(kind: str) -> None:
    a, b = (distort(material(), kind, 4, seed=s)[0] for s in (1, 4))
    touched = "frames" if REGISTRY[kind].modality == "video" else "sound"
    assert not np.array_equal(getattr(a, touched), getattr(b, touched))


@pytest.mark.parametrize("kind", [k.kind for k in REGISTRY.values() if not k.whole_clip])
def test_span_leaves_the_outside_untouched(kind: str) -> None:
    source = subject(REGISTRY[kind])
    start, end = source.duration * 0.25, source.duration * 0.75
    changed, fault = distort(source, kind, 4, seed=3, span=(start, end))
    assert (fault.start, fault.end) == (start, end)
    if source.frames is not None:
        first, last = round(start * source.fps), round(end * source.fps)
        assert np.array_equal(changed.frames[:first], source.frames[:first])
        assert np.array_equal(changed.frames[last:], source.frames[last:])
    if source.sound is not None:
        first, last = round(start * source.rate), round(end * source.rate)
        assert np.array_equal(changed.sound[:, :first], source.sound[:, :first])
        assert np.array_equal(changed.sound[:, last:], source.sound[:, last:])
    outside = [c for c in source.captions if not start <= (c.start + c.end) / 2 < end]
    assert [c for c in changed.captions if c in outside] == outside
    assert changed.captions != source.captions or not source.captions
    if not source.captions:
        touched = "frames" if REGISTRY[kind].modality == "video" else "sound"
        assert not np.array_equal(getattr(changed, touched), getattr(source, touched))


def test_odd_sizes_and_a_low_sound_rate_survive_the_codecs() -> None:
    odd = replace(material(), frames=material().frames[:6, :95, :127], sound=speech_like(5, 0.5, 22050), rate=22050)
    for kind in ("h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2", "aac", "mp3", "opus", "amr"):
        changed, _ = distort(odd, kind, 2, seed=0)
        assert changed.frames.shape == (6, 95, 127, 3)
        assert changed.sound.shape == odd.sound.shape


@pytest.mark.parametrize("kind", ["aac", "mp3", "opus", "amr"])
def test_audio_codecs_come_back_aligned(kind: str) -> None:
    """Analytic: a burst stays where it was, to the millisecond."""
    sound = np.zeros((2, RATE), np.float32)
    t = np.arange(2400) / RATE
    sound[:, 24000:26400] = 0.5 * np.sin(2 * np.pi * 700 * t) * np.hanning(2400)
    changed, _ = distort(Material(sound=sound, rate=RATE), kind, 1, seed=0)
    both = [np.square(s[0]) for s in (sound, changed.sound)]
    centres = [float((p * np.arange(RATE)).sum() / p.sum()) for p in both]
    assert abs(centres[0] - centres[1]) < RATE / 1000


@pytest.mark.parametrize("kind", ["h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2"])
def test_video_codecs_keep_the_order_of_frames(kind: str) -> None:
    """Analytic: frame i has grey level 20 + 14 i, in and out."""
    grey = np.repeat((20 + 14 * np.arange(16, dtype=np.uint8)), 64 * 64 * 3).reshape(16, 64, 64, 3)
    changed, _ = distort(Material(grey, 25.0), kind, 1, seed=0)
    assert np.abs(changed.frames.mean((1, 2, 3)) - grey[:, 0, 0, 0]).max() < 6


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="needs Linux")
def test_av1_threads_are_not_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    policies: set[int] = set()
    tame = video_codec.no_real_time

    def watched() -> None:
        tame()
        policies.update(os.sched_getscheduler(int(t)) for t in os.listdir("/proc/self/task"))

    monkeypatch.setattr(video_codec, "no_real_time", watched)
    frames = np.zeros((4, 64, 64, 3), np.uint8)
    video_codec.round_trip(
        frames, 25.0, "libsvtav1", "libdav1d", {"preset": "10", "crf": "50", "svtav1-params": "lp=1"}
    )
    assert policies == {os.SCHED_OTHER}


def test_x264_decides_the_same_in_every_run() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (30, 12, 16, 3), dtype=np.uint8)
    frames = np.stack([cv2.resize(f, (320, 240), interpolation=cv2.INTER_CUBIC) for f in frames])
    options = {"preset": "veryfast", "crf": "38"}
    first, *others = (video_codec.round_trip(frames, 25.0, "libx264", "h264", options).tobytes() for _ in range(5))
    assert all(o == first for o in others)
