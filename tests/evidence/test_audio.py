"""Facts of the sound move with their fault and stay quiet without it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, fftconvolve, firwin, sosfilt

from mllm_avqa.evidence import SEVERITIES
from mllm_avqa.evidence.audio import loudness
from mllm_avqa.evidence.catalogue import median
from tests.evidence.conftest import RATE

RNG = np.random.default_rng(9)


def active_power(x: np.ndarray) -> float:
    frames = np.square(x[:, : x.shape[1] // 480 * 480]).mean(axis=0).reshape(-1, 480).mean(axis=1)
    return float(frames[frames > frames.max() * 1e-4].mean())


def white(x, snr):
    return x + RNG.normal(size=x.shape) * np.sqrt(active_power(x) / 10 ** (snr / 10))


def clipped(x, drive):
    peak = np.abs(x).max()
    return 0.7 * np.clip(x / peak * 10 ** (drive / 20), -0.9, 0.9)


def lowpassed(x, hz):
    return sosfilt(butter(8, hz, fs=RATE, output="sos"), x)


def highpassed(x, hz):
    return sosfilt(butter(4, hz, "high", fs=RATE, output="sos"), x)


def holed(x, share):
    out = x.copy()
    for i in range(0, x.shape[1] - 960, 960):
        if RNG.random() < share:
            out[:, i : i + 960] = 0
    return out


def humming(x, snr):
    t = np.arange(x.shape[1]) / RATE
    hum = sum(a * np.sin(2 * np.pi * 50 * k * t + k) for k, a in enumerate((1, 0.5, 0.35, 0.2, 0.15), 1))
    return x + hum / np.std(hum) * np.sqrt(active_power(x) / 10 ** (snr / 10))


def clicking(x, per_second):
    out = x.copy()
    for i in RNG.integers(100, x.shape[1] - 100, int(per_second * x.shape[1] / RATE)):
        out[:, i : i + 3] += RNG.choice([-1, 1]) * 0.6 * np.abs(x).max()
    return out


def louder(x, gain_db):
    return x * 10 ** (gain_db / 20)


def shifted(x, offset):
    return x + offset


def leaning(x, db):
    return np.stack([x[0], x[0] * 10 ** (-db / 20)])


def inverted(x, share):
    return np.stack([x[0], (1 - share) * x[0] - share * x[0] + 1e-4 * RNG.normal(size=x.shape[1])])


def muted(x, share):
    out = x.copy()
    out[:, : int(share * x.shape[1])] = 0
    return out


# fact, direction in which it gets worse, fault, mild dose, heavy dose
FAULTS = [
    ("snr", -1, white, 26, 2),
    ("noise_floor", 1, white, 26, -10),
    ("clipping", 1, clipped, 8, 30),
    ("crest_factor", -1, clipped, 8, 26),
    ("bandwidth", -1, lowpassed, 8000, 1800),
    ("low_cut", 1, highpassed, 300, 1800),
    ("dropouts", 1, holed, 0.05, 0.3),
    ("hum", 1, humming, 18, 3),
    ("clicks", 1, clicking, 3, 40),
    ("loudness", -1, louder, -15, -30),
    ("loudness", 1, louder, 18, 26),
    ("true_peak", 1, louder, 15, 20),
    ("dc_offset", 1, shifted, 0.01, 0.1),
    ("balance", 1, leaning, 6, 40),
    ("stereo_correlation", -1, inverted, 0.6, 1.0),
    ("silence", 1, muted, 0.4, 0.9),
]


@pytest.mark.parametrize(("name", "sign", "fault", "mild", "heavy"), FAULTS)
def test_fact_follows_its_fault(facts, sound, name, sign, fault, mild, heavy):
    clean, slight, bad = (facts(samples=x)[name] for x in (sound, fault(sound, mild), fault(sound, heavy)))
    assert sign * clean.value <= sign * slight.value <= sign * bad.value
    assert sign * clean.value < sign * bad.value
    assert SEVERITIES.index(clean.severity) <= 1
    assert bad.severity in ("strong", "severe")


def test_loudness_of_a_reference_tone(facts):
    """Published: EBU Tech 3341 case 1, a stereo 1 kHz sine at -23 dBFS reads -23 LUFS."""
    t = np.arange(4 * RATE) / RATE
    tone = np.tile(10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * t), (2, 1))
    assert facts(samples=tone)["loudness"].value == pytest.approx(-23.0, abs=0.1)


def test_true_peak_sees_between_the_samples(facts):
    """Analytic: a sine at a quarter of the rate sampled at 45 degrees peaks 3 dB above its samples."""
    n = np.arange(RATE)
    tone = 0.5 * np.sin(np.pi / 2 * n + np.pi / 4)[None]
    value = facts(samples=tone)["true_peak"].value
    assert value == pytest.approx(20 * np.log10(0.5), abs=0.2)
    assert value > 20 * np.log10(np.abs(tone).max()) + 2.5


def test_bandwidth_is_the_cutoff(facts):
    noise = RNG.normal(0, 0.1, (1, 3 * RATE))
    cut = fftconvolve(noise, firwin(1025, 6000, fs=RATE)[None], mode="same")
    assert facts(samples=cut)["bandwidth"].value == pytest.approx(6000, rel=0.05)
    assert facts(samples=noise)["bandwidth"].value == pytest.approx(RATE / 2, rel=0.02)


def test_hum_needs_three_harmonics(facts, sound):
    t = np.arange(sound.shape[1]) / RATE
    bass = sound + 0.05 * np.sin(2 * np.pi * 50 * t)
    assert facts(samples=bass)["hum"].severity == "none"
    assert "50 Hz" in facts(samples=humming(sound, 10))["hum"].note


def test_silence_span_on_the_clips_clock(facts, sound):
    gapped = sound.copy()
    gapped[:, int(1.2 * RATE) : int(2.5 * RATE)] = 0
    spans = facts(samples=gapped, start=5.0)["silence"].spans
    longest = max(spans, key=lambda s: s[1] - s[0])
    assert longest == pytest.approx((6.2, 7.5), abs=0.15)


def test_dropout_spans(facts):
    steady = 0.1 * RNG.normal(size=(1, 3 * RATE))
    for at in (0.8, 2.1):
        steady[:, int(at * RATE) : int((at + 0.08) * RATE)] = 0
    found = facts(samples=steady)["dropouts"]
    assert len(found.spans) == 2
    assert found.spans[0] == pytest.approx((0.8, 0.88), abs=0.01)
    assert found.spans[1] == pytest.approx((2.1, 2.18), abs=0.01)
    assert found.value == pytest.approx(100 * 0.16 / 3, rel=0.1)


def test_fade_is_no_dropout(facts):
    steady = 0.1 * RNG.normal(size=(1, 3 * RATE))
    n = int(0.1 * RATE)
    dip = np.concatenate([np.geomspace(1, 1e-5, n), np.full(n, 1e-5), np.geomspace(1e-5, 1, n)])
    steady[:, RATE : RATE + 3 * n] *= dip
    assert facts(samples=steady)["dropouts"].value == 0


def test_opposite_phase_does_not_hide_the_sound(facts, sound):
    found = facts(samples=np.stack([sound[0], -sound[0]]))
    assert found["stereo_correlation"].value == pytest.approx(-1)
    assert found["bandwidth"].value is not None


def test_low_frequency_channel_of_surround_is_left_out(facts, sound):
    surround = np.zeros((6, sound.shape[1]), np.float32)
    surround[:2] = sound
    boosted = surround.copy()
    boosted[3] = 0.5
    assert facts(samples=boosted)["loudness"].value == facts(samples=surround)["loudness"].value


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("seconds", [0.41, 0.45, 1.37, 3.333])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_loudness_is_that_of_pyloudnorm(rate: int, seconds: float, channels: int) -> None:
    # Reference: pyloudnorm 0.2.0; the rising level makes both gates work.
    import pyloudnorm

    swell = np.linspace(0, 1, int(rate * seconds)) ** 3
    samples = (0.1 * swell * RNG.standard_normal((channels, swell.size))).astype(np.float32)
    weighed = samples[[0, 1, 2, 4, 5]] if channels == 6 else samples
    expected = pyloudnorm.Meter(rate).integrated_loudness(weighed.T.astype(np.float64))
    assert loudness(samples, rate).value == pytest.approx(expected, abs=1e-9)


def test_silence_has_no_loudness() -> None:
    assert loudness(np.zeros((2, 48000), np.float32), 48000).value is None


@pytest.mark.parametrize("shape", [(1,), (7,), (40, 5), (40, 6)])
def test_median_is_that_of_numpy(shape: tuple[int, ...]) -> None:
    for values in (RNG.standard_normal(shape).astype(np.float32), RNG.integers(0, 255, shape).astype(np.uint8)):
        np.testing.assert_array_equal(median(values), np.median(values, axis=-1))
