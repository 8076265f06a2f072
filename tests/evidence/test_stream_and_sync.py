"""Container facts, timestamps, and the content offset with its gate."""

from __future__ import annotations

import numpy as np
import pytest

from mllm_avqa.evidence import measure
from mllm_avqa.evidence.sync import _lag
from tests.evidence.conftest import FPS, HEIGHT, RATE, WIDTH, make_clip


def by_name(clip):
    return {m.name: m for m in measure(clip)}


def test_resolution_and_bits_per_pixel(frames):
    clip = make_clip(frames[:10])
    found = by_name(clip)
    assert found["resolution"].value == HEIGHT
    assert found["bitrate"].value == pytest.approx(2_000_000 / (WIDTH * HEIGHT * FPS), rel=1e-3)
    clip.info.video.bitrate = None
    assert by_name(clip)["bitrate"].value is None


def test_an_efficient_codec_is_not_called_poor(frames):
    clip = make_clip(frames[:10])
    clip.info.video.bitrate = int(0.01 * WIDTH * HEIGHT * FPS)
    assert by_name(clip)["bitrate"].severity == "faint"
    clip.info.video.codec = "av1"
    assert by_name(clip)["bitrate"].severity == "none"


def test_damage_is_counted(frames):
    clip = make_clip(frames[:10])
    clip.video.damaged = 5
    assert by_name(clip)["decode_errors"].value == 5
    assert by_name(clip)["decode_errors"].severity == "moderate"


def test_start_offset_and_duration_difference(frames, sound):
    clip = make_clip(frames, sound)
    clip.info.audio.start = 0.12
    clip.info.audio.duration = 2.5
    found = by_name(clip)
    assert found["av_start_offset"].value == pytest.approx(120)
    assert found["av_duration_difference"].value == pytest.approx(-1500)
    assert found["av_duration_difference"].severity == "moderate"


def test_timestamp_gaps(frames, sound):
    clip = make_clip(frames, sound)
    assert by_name(clip)["timestamp_gaps"].value == 0
    clip.audio.gaps = [(1.0, 1.25)]
    clip.video.thumb_pts = clip.video.thumb_pts + np.where(np.arange(len(frames)) >= 50, 0.5, 0.0)
    gaps = by_name(clip)["timestamp_gaps"]
    assert gaps.value == pytest.approx(750, abs=1)
    assert len(gaps.spans) == 2


def flashes(offset: float, seconds: float = 8.0):
    """A ball that jumps at irregular times, with a click `offset` seconds after each jump."""
    rng = np.random.default_rng(6)
    times = np.cumsum(rng.uniform(0.45, 1.1, 12))
    times = times[times < seconds - 1]
    frames = np.full((int(seconds * FPS), 90, 160, 3), 60, np.uint8)
    samples = 1e-4 * rng.normal(size=(1, int(seconds * RATE)))
    for i in range(len(frames)):
        passed = int(np.count_nonzero(times <= i / FPS))
        x = 10 + (passed * 53) % 100
        frames[i, 30:60, x : x + 40] = 220
    for t in times:
        at = int((t + offset) * RATE)
        burst = rng.normal(size=2400) * np.exp(-np.arange(2400) / 500)
        samples[:, at : at + 2400] += 0.3 * burst
    return frames, samples


@pytest.mark.parametrize("offset", [0.0, 0.2, 0.5])
def test_content_offset_of_sharp_events(offset):
    found = by_name(make_clip(*flashes(offset)))["av_content_offset"]
    assert found.value == pytest.approx(1000 * offset, abs=80)
    assert "peak ratio" in found.note


def test_content_offset_stays_silent_without_evidence(frames, sound):
    found = by_name(make_clip(frames, sound))["av_content_offset"]
    assert found.value is None
    assert found.note == "not measurable from the content"


def test_start_transients_do_not_fake_a_peak():
    """Both features jump at their start; trimming the edges has to remove that common event."""
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(2, 800))
    a[:5] += 60
    b[:5] += 60
    lag, ratio = _lag(a, b)
    assert abs(lag) > 0.02 or ratio < 1.9
