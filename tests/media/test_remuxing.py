"""The same packets in another container are the same clip: priming and edit lists move nothing."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from media_synth import numbers, steady, write_clip

from mllm_avqa.evidence import measure
from mllm_avqa.media import DecodeSpec, MediaReader

WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "faststart": ("mp4", {"movflags": "+faststart"}),
    "fragmented": ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "late index": ("mp4", {"movflags": "frag_keyframe+delay_moov"}),
    "mov": ("mov", {}),
    "mkv": ("mkv", {}),
    "ts": ("ts", {}),
    "flv": ("flv", {}),
}


@pytest.fixture(scope="module", params=["2", "0"], ids=["B-frames", "no B-frames"])
def original(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    rate = 44100
    noise = np.random.default_rng(5).normal(0, 0.1, (2, 6 * rate)).astype(np.float32)
    noise *= np.sin(np.linspace(0, 40, noise.shape[1])).astype(np.float32)
    path = tmp_path_factory.mktemp("remux") / "original.mp4"
    options = {"bf": request.param, "g": "30", "preset": "ultrafast", "b_strategy": "0"}
    return write_clip(path, steady(150, 25), size=(160, 96), options=options, sound=noise, rate=rate)


def remux(source: Path, path: Path, options: dict[str, str]) -> Path:
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as out:
        kept = {stream: out.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = kept[packet.stream]
                out.mux(packet)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_another_container_is_the_same_clip(reader: MediaReader, original: Path, tmp_path: Path, way: str) -> None:
    suffix, options = WAYS[way]
    other = remux(original, tmp_path / f"other.{suffix}", options)
    for start in (0.0, 2.0, 4.0):
        spec = DecodeSpec(start=start, duration=2.0)
        a, b = reader.read_clip(original, spec), reader.read_clip(other, spec)
        assert numbers(b.video.thumbs) == numbers(a.video.thumbs)
        np.testing.assert_array_equal(b.video.thumbs, a.video.thumbs)
        np.testing.assert_array_equal(b.video.frames, a.video.frames)
        np.testing.assert_allclose(b.video.thumb_pts, a.video.thumb_pts, atol=2e-3)
        assert (b.warnings, b.absent) == (a.warnings, a.absent)
        assert b.audio.rate == a.audio.rate
        assert b.audio.gaps == []
        assert b.audio.start == pytest.approx(a.audio.start, abs=2e-3)
        # Milliseconds are the finest step of Matroska and FLV.
        n = min(a.audio.samples.shape[1], b.audio.samples.shape[1]) - 200
        shifts = [
            np.corrcoef(a.audio.samples[0, 100:n], b.audio.samples[0, 100 + k : n + k])[0, 1] for k in range(-50, 51)
        ]
        assert max(shifts) > 0.9999
        facts = {m.name: m for m in measure(a)}
        for m in measure(b):
            assert m.severity == facts[m.name].severity, m.name
    info, same = reader.probe(other), reader.probe(original)
    assert info.duration == pytest.approx(same.duration, abs=0.05)
    assert info.video.codec == same.video.codec
    assert info.video.fps == pytest.approx(same.video.fps, rel=2e-3)
    assert info.video.start == same.video.start == 0.0
    assert info.video.bitrate == pytest.approx(same.video.bitrate, rel=0.1)
