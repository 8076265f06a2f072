"""The decord reader: same frames and sound as PyAV where decord is right, and a plain word where it is blind."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from media_synth import numbers, steady, tone, write_clip
from PIL import Image

from mllm_avqa import media
from mllm_avqa.media import DecodeSpec, Limits, MediaReader
from mllm_avqa.media.readers.decord_reader import DecordReader
from mllm_avqa.schema.errors import ConfigError, NotAFile, UnsupportedCodec

pytestmark = pytest.mark.timeout(60)
needs_decord = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('decord')", reason="needs decord")


@needs_decord
@pytest.mark.parametrize("spec", [DecodeSpec(), DecodeSpec(start=0.5, duration=0.8, segments=2)])
def test_agrees_with_pyav_on_a_plain_file(reader: MediaReader, plain: Path, spec: DecodeSpec) -> None:
    ours, theirs = reader.read_clip(plain, spec), media.read_clip(plain, spec, reader="decord")
    np.testing.assert_array_equal(ours.video.frames, theirs.video.frames)
    np.testing.assert_allclose(ours.video.pts, theirs.video.pts, atol=1e-6)
    np.testing.assert_allclose(ours.video.thumb_pts, theirs.video.thumb_pts, atol=1e-6)
    assert numbers(ours.video.thumbs) == numbers(theirs.video.thumbs)
    # Thumbnails come from RGB there and from luma here.
    assert np.abs(ours.video.thumbs.astype(int) - theirs.video.thumbs.astype(int)).mean() < 2
    n = min(ours.audio.samples.shape[1], theirs.audio.samples.shape[1]) - 2048
    assert n >= 36000
    # decord mixes stereo as (L + R) / sqrt(2).
    np.testing.assert_allclose(theirs.audio.samples[0, :n], ours.audio.samples[:, :n].sum(0) / np.sqrt(2), atol=2e-4)
    assert any("mixes all channels into one" in text for text in theirs.warnings)
    assert ours.info == theirs.info


@needs_decord
def test_says_what_it_cannot_see(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "d.mp4", steady(60), sound=tone(1.0), sound_start=1.0)
    clip = media.read_clip(path, reader="decord")
    assert clip.audio.start == 0.0  # wrong, and the reason for the warning
    assert "hides start times" in clip.warnings[0]
    assert "--reader pyav" in clip.warnings[0]
    assert clip.info.audio.start == pytest.approx(0.98, abs=0.01)


@needs_decord
def test_what_decord_cannot_open(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(UnsupportedCodec, match="--reader pyav"):
        media.read_clip(tmp_path / "a.png", reader="decord")
    with pytest.raises(NotAFile):
        media.read_clip(tmp_path, reader="decord")


def test_not_installed(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(ConfigError, match="--reader pyav"):
        DecordReader()


@needs_decord
def test_no_audio(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", steady(12))
    clip = DecordReader().read_clip(str(path), DecodeSpec(), Limits())
    assert clip.audio is None
    assert clip.absent == {"audio": "no usable audio stream in the file"}
    assert numbers(clip.video.thumbs) == list(range(12))
