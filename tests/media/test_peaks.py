"""The true peak against FFmpeg's own (reference run): the same three digits, wherever the peak lies."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mllm_avqa.media.peaks import TruePeak, oversampled_alike


def told(samples, rate, layout):
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout, time_base=Fraction(1, rate))
    meter, sink = graph.add("ebur128", "metadata=1:peak=true"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    source.push(frame)
    source.push(None)
    last = "0"
    while True:
        try:
            metadata = sink.pull().metadata
        except (av.BlockingIOError, av.EOFError):
            return last
        last = metadata["lavfi.r128.true_peak"] if "lavfi.r128.M" in metadata else last


def mine(samples, rate, pieces):
    peak = TruePeak(rate)
    for part in np.array_split(samples, pieces, axis=1):
        peak.add(part)
    peak.finish()
    return f"{peak.value:.3f}"


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 88200, 96000])
def test_the_peak_is_ffmpegs(rate):
    rng = np.random.default_rng(rate)
    for seed in range(12):
        n = int(rng.integers(rate // 4, rate))
        samples = rng.normal(0, 0.05, (1 + seed % 2, n)).astype(np.float32)
        tenth = rate // 10
        at = [0, 20, n // tenth * tenth - int(rng.integers(1, 40)), int(rng.integers(40, n - 40))][seed % 4]
        samples[seed % len(samples), at : at + 3] = [0.6, -0.7, 0.65]  # beyond its samples between them
        layout = ("mono", "stereo")[seed % 2]
        assert mine(samples, rate, 1 + seed % 3) == told(samples, rate, layout), (seed, at, n)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_weights_are_libswresamples(rate):
    """Analytic: two ways to the same sum; three digits would hide weights that are off by 1e-5."""
    samples = np.random.default_rng(rate).normal(0, 0.1, (1, rate)).astype(np.float32)
    samples[0, rate // 2 :] *= 0.2  # the peak lies where nothing is cut off
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float64), "dblp", "mono")
    frame.sample_rate = rate
    resampled = av.AudioResampler("dblp", "mono", 192000).resample(frame)
    peak = TruePeak(rate)
    peak.add(samples)
    assert peak.value == pytest.approx(max(np.abs(part.to_ndarray()).max() for part in resampled), rel=1e-12)


def test_all_channels_and_all_loud():
    samples = np.random.default_rng(0).uniform(-1, 1, (6, 24000)).astype(np.float32)
    assert mine(samples, 48000, 2) == told(samples, 48000, "5.1")


def test_other_rates_are_left_to_ffmpeg():
    """libswresample rounds the places of 22.05 kHz, and filters more at 192 kHz and beyond."""
    assert [rate for rate in (11025, 22050, 37800, 44100, 48000, 192000, 384000) if oversampled_alike(rate)] == [
        44100,
        48000,
    ]
