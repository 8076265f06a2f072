"""What float samples and headers may hold besides sound: stopped where sound enters, so that no measure meets it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mllm_avqa.evidence import measure
from mllm_avqa.media import MediaReader
from mllm_avqa.model.views import make_views
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import NoUsableStream


def write_float(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    """A mono WAV file of 32-bit floats, format 3."""
    body = samples.astype("<f4").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, 3, 1, rate, rate * 4, 4, 32)
    path.write_bytes(head + struct.pack("<4sI", b"data", len(body)) + body)
    return path


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.3, 0.3, 48000).astype(np.float32)


def test_no_finite_sample_is_no_sound(reader: MediaReader, tmp_path: Path) -> None:
    for value in (np.nan, np.inf, -np.inf):
        clip = reader.read_clip(write_float(tmp_path / "a.wav", np.full(48000, value)))
        assert clip.audio is None
        assert clip.absent["audio"].startswith("no finite samples")
        measure(clip)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -3e38, 1e-42])
def test_one_wild_sample(reader: MediaReader, tmp_path: Path, noise: np.ndarray, value: float) -> None:
    noise[100] = value
    clip = reader.read_clip(write_float(tmp_path / "a.wav", noise))
    assert np.isfinite(clip.audio.samples).all()
    assert np.abs(clip.audio.samples).max() <= 16
    assert len(clip.warnings) == (abs(value) > 1 or not np.isfinite(value))
    np.testing.assert_array_equal(clip.audio.samples[0, 101:], noise[101:])
    assert all(m.value is None or np.isfinite(m.value) for m in measure(clip))
    make_views(clip, ViewSpec())


@pytest.mark.parametrize("scale", [1e30, 1e4, 1e-30, 0.0])
def test_absurd_scale(reader: MediaReader, tmp_path: Path, noise: np.ndarray, scale: float) -> None:
    clip = reader.read_clip(write_float(tmp_path / "a.wav", noise * np.float32(scale)))
    assert all(m.value is None or np.isfinite(m.value) for m in measure(clip))
    make_views(clip, ViewSpec())


@pytest.mark.parametrize("rate", [1, 100, 1999, 500_000_000])
def test_absurd_sample_rate(reader: MediaReader, tmp_path: Path, noise: np.ndarray, rate: int) -> None:
    path = write_float(tmp_path / "a.wav", noise[:4000], rate)
    for call in (reader.probe, reader.read_clip):
        with pytest.raises(NoUsableStream, match=rf"sample rate of {rate} Hz"):
            call(path)


@pytest.mark.parametrize("rate", [2000, 4001, 8000, 44056, 192_000, 768_000])
def test_odd_sample_rate(reader: MediaReader, tmp_path: Path, noise: np.ndarray, rate: int) -> None:
    clip = reader.read_clip(write_float(tmp_path / "a.wav", noise, rate))
    assert clip.audio.rate == rate
    measure(clip)
    make_views(clip, ViewSpec())
