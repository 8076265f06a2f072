"""Clips written and read back: aligned, complete, atomic."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from data_recipes.distortions import Caption, Material
from data_recipes.synthesis.mux import photo_material, read_material, write_clip
from mllm_avqa.schema.errors import ConfigError, MediaNotFound, NotMedia, NoUsableStream

RATE, FPS = 48000, 25.0


def flash_and_beep(n: int = 50, at: int = 20, h: int = 96, w: int = 128) -> Material:
    """Grey frames with one white one, and a beep that begins with it."""
    frames = np.full((n, h, w, 3), 60, np.uint8)
    frames[at] = 250
    sound = np.zeros((2, round(n / FPS * RATE)), np.float32)
    first = round(at / FPS * RATE)
    sound[:, first : first + 960] = 0.5 * np.sin(np.arange(960) * 0.2)
    return Material(frames, FPS, sound, RATE, [Caption(0.2, 0.8, "first line"), Caption(1.0, 1.5, "zweite Zeile: ü")])


@pytest.mark.parametrize("audio", ["aac", "flac"])
def test_round_trip_is_aligned_and_complete(tmp_path: Path, audio: str) -> None:
    source = flash_and_beep()
    write_clip(tmp_path / "a.mp4", source, audio=audio, metadata={"title": "test"})
    back = read_material(tmp_path / "a.mp4")
    assert back.frames.shape == source.frames.shape
    assert back.fps == FPS
    assert back.rate == RATE
    assert back.sound.shape == source.sound.shape
    assert int(back.frames.mean((1, 2, 3)).argmax()) == 20
    begin = int(np.argmax(np.abs(back.sound[0]) > 0.1))
    assert abs(begin - 0.8 * RATE) < 0.003 * RATE
    assert np.abs(back.frames.astype(int) - source.frames).mean() < 2
    if audio == "flac":
        assert np.abs(back.sound - source.sound).max() < 1 / 32000
    assert [c.text for c in back.captions] == [c.text for c in source.captions]
    assert back.captions[1].start == pytest.approx(1.0, abs=0.002)
    assert back.captions[1].end == pytest.approx(1.5, abs=0.002)
    with av.open(str(tmp_path / "a.mp4")) as box:
        assert box.metadata["title"] == "test"
        assert {s.start_time * s.time_base for s in (box.streams.video[0], box.streams.audio[0])} == {0}
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_window_of_a_file(tmp_path: Path) -> None:
    long = flash_and_beep(n=150, at=120)
    write_clip(tmp_path / "a.mp4", long, subtitles=False)
    part = read_material(tmp_path / "a.mp4", start=4.0, duration=1.6, max_height=48)
    assert part.frames.shape == (40, 48, 64, 3)
    assert part.sound.shape == (2, round(1.6 * RATE))
    assert int(part.frames.mean((1, 2, 3)).argmax()) == 20
    assert abs(int(np.argmax(np.abs(part.sound[0]) > 0.1)) - 0.8 * RATE) < 0.003 * RATE
    assert part.captions == []


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", flash_and_beep(h=95, w=127))
    assert read_material(tmp_path / "a.mp4").frames.shape == (50, 96, 128, 3)


def test_sound_only_and_picture_only(tmp_path: Path) -> None:
    both = flash_and_beep()
    write_clip(tmp_path / "s.mp4", Material(sound=both.sound[:1], rate=RATE))
    sound = read_material(tmp_path / "s.mp4")
    assert sound.frames is None
    assert sound.sound.shape[0] == 1
    assert sound.sound.shape[1] == pytest.approx(2 * RATE, abs=2048)
    write_clip(tmp_path / "p.mp4", Material(both.frames, FPS))
    assert read_material(tmp_path / "p.mp4").sound is None


def test_variable_frame_rate_is_laid_on_a_grid(tmp_path: Path) -> None:
    """Analytic: 10 frames at 0.1 s, then 10 at 0.2 s; every grid instant shows the frame nearest in time."""
    times = [0.1 * i for i in range(10)] + [1.0 + 0.2 * i for i in range(10)]
    with av.open(str(tmp_path / "v.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, t in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 + 10 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(t * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    back = read_material(tmp_path / "v.mkv", 0.0, 2.8)
    shown = back.frames[:, 24, 32, 0].astype(float)
    instants = np.arange(len(shown)) / back.fps
    distance = np.abs(np.array(times)[np.rint((shown - 30) / 10).astype(int)] - instants)
    best = np.abs(np.array(times)[None] - instants[:, None]).min(1)
    assert (distance <= best + 1e-6).all()
    assert len(shown) == round(2.8 * back.fps)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = Material(np.zeros((4, 32, 32, 3), np.uint8), FPS, np.zeros((5, 100), np.float32), RATE)
    with pytest.raises(ConfigError, match="5 channels"):
        write_clip(tmp_path / "a.mp4", bad)
    assert list(tmp_path.iterdir()) == []


def test_requests_that_can_not_be_met(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither picture nor sound"):
        write_clip(tmp_path / "a.mp4", Material())
    with pytest.raises(ConfigError, match="7000 Hz"):
        write_clip(tmp_path / "a.mp4", Material(sound=np.zeros((1, 100), np.float32), rate=7000))
    with pytest.raises(ConfigError, match=r"'mp3'.*aac, flac"):
        write_clip(tmp_path / "a.mp4", flash_and_beep(), audio="mp3")
    with pytest.raises(MediaNotFound, match=r"none\.mp4"):
        read_material(tmp_path / "none.mp4")
    (tmp_path / "x.mp4").write_bytes(b"not a film")
    with pytest.raises(NotMedia):
        read_material(tmp_path / "x.mp4")
    (tmp_path / "t.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(NoUsableStream):
        read_material(tmp_path / "t.srt")
    with pytest.raises(MediaNotFound):
        photo_material(tmp_path / "none.jpg", 1, 10, 48, np.random.default_rng(0))
    with pytest.raises(NotMedia):
        photo_material(tmp_path / "x.mp4", 1, 10, 48, np.random.default_rng(0))


def test_photo_moves_slowly_and_reproducibly(tmp_path: Path) -> None:
    picture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (300, 400, 3)), (0, 0), 4)
    cv2.imwrite(str(tmp_path / "p.png"), np.clip((picture - 127) * 8 + 127, 0, 255))
    a, b = (photo_material(tmp_path / "p.png", 1.0, 12.0, 90, np.random.default_rng(3)) for _ in range(2))
    assert a.frames.shape == (12, 90, 160, 3)
    assert a.sound is None
    assert np.array_equal(a.frames, b.frames)
    steps = np.abs(np.diff(a.frames.astype(int), axis=0)).mean((1, 2, 3))
    assert (steps > 0).all()
    assert steps.max() < np.abs(a.frames[-1].astype(int) - a.frames[0]).mean()
