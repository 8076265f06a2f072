"""Bytes, open files and arrays become files that decode to just what was given."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mllm_avqa.media import MediaReader, content_hash, probe, read_clip
from mllm_avqa.media.sources import Arrays, as_file
from mllm_avqa.schema.clip import DecodeSpec, Limits
from mllm_avqa.schema.errors import ConfigError, MediaNotFound, MediaTooLarge

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
SOUND = RNG.uniform(-0.5, 0.5, (2, 16_000)).astype(np.float32)


def test_arrays_decode_to_themselves() -> None:
    with as_file(Arrays(FRAMES, 29.97, SOUND, 16_000), Limits()) as (path, name):
        info = probe(path)
        clip = read_clip(path, DecodeSpec(duration=1.0, segments=1, frames_per_segment=2))
        with av.open(path) as f:
            decoded = [frame.to_ndarray(format="rgb24") for frame in f.decode(video=0)]
    assert name == "arrays"
    assert info.video is not None
    assert info.audio is not None
    assert info.video.fps == pytest.approx(29.97, abs=0.01)
    assert (info.video.width, info.video.height, info.audio.sample_rate, info.audio.channels) == (64, 48, 16_000, 2)
    assert np.array_equal(np.stack(decoded), FRAMES)
    assert clip.audio is not None
    assert np.allclose(clip.audio.samples[:, : SOUND.shape[1]], SOUND[:, : clip.audio.samples.shape[1]], atol=1e-6)
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("video", "audio"),
    [
        (torch.from_numpy(FRAMES).permute(0, 3, 1, 2), torch.from_numpy(SOUND)),
        (FRAMES.astype(np.float32) / 255, (SOUND * 32767).astype(np.int16)),
        (FRAMES, None),
        (None, SOUND[0]),
    ],
)
def test_tensors_floats_and_single_streams(video: object, audio: object) -> None:
    with as_file(Arrays(video, 30, audio, 16_000), Limits()) as (path, _):
        info = probe(path)
        assert (info.video is None, info.audio is None) == (video is None, audio is None)
        if video is not None:
            with av.open(path) as f:
                assert np.array_equal(next(f.decode(video=0)).to_ndarray(format="rgb24"), FRAMES[0])
                assert f.streams.video[0].average_rate == Fraction(30)


def test_bytes_and_open_files_are_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"some bytes")
    with as_file(b"some bytes", Limits()) as (one, name), (tmp_path / "a.mkv").open("rb") as f:
        assert name == "bytes"
        with as_file(f, Limits()) as (two, _):
            assert content_hash(one) == content_hash(two) == content_hash(tmp_path / "a.mkv")
            assert two.endswith(".mkv")
    with as_file(tmp_path / "a.mkv", Limits()) as (path, name):
        assert path == name == str(tmp_path / "a.mkv")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Arrays(), "neither video nor audio"),
        (Arrays(FRAMES), "Arrays.fps is None"),
        (Arrays(FRAMES[..., :2], 30), r"shape \[30, 48, 64, 2\]"),
        (Arrays(FRAMES.astype(np.float32), 30), "floats from 0 to 1"),
        (Arrays(audio=SOUND.astype(np.int64), rate=8000), "int64"),
        (Arrays(audio=SOUND * np.nan, rate=8000), "finite"),
        (io.StringIO("text"), "binary mode"),
    ],
)
def test_what_is_no_clip_says_so(source: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message), as_file(source, Limits()):  # type: ignore[arg-type]
        pass


def test_streams_are_bounded_and_addresses_refused() -> None:
    small = Limits(max_bytes=5)
    for source in (b"123456", io.BytesIO(b"123456")):
        with pytest.raises(MediaTooLarge, match="--max-bytes"), as_file(source, small):
            pass
    with pytest.raises(MediaNotFound, match=r"curl -fL https://example.org/a.mp4 \| mllm-avqa rate -"):
        content_hash(Path("https://example.org/a.mp4"))
    for address in ("https://example.org/a.mp4", Path("https://example.org/a.mp4")):  # one slash is left of the latter
        with pytest.raises(MediaNotFound, match=r"^https://example.org/a.mp4: only files.*curl -fL"):
            MediaReader().probe(address)
