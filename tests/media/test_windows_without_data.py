"""What has nothing to be judged by has no score, and a hole in a file does not take the rest of it along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media_synth import TICK, steady, tone, write_clip

from mllm_avqa.media import DecodeSpec, MediaReader
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.clip import Clip
from mllm_avqa.schema.errors import EmptyWindow
from mllm_avqa.windows import Prepared, file_windows

SPEC = ViewSpec(window_seconds=2.0, hop_seconds=2.0)


def windows(path: Path, reader: MediaReader) -> list[Prepared]:
    return list(file_windows(str(path), reader, SPEC, context="none"))


@pytest.mark.parametrize("seconds", [3.0, 0.05])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_no_picture_and_no_sound_to_speak_of(reader: MediaReader, tmp_path: Path, seconds: float, level: float) -> None:
    path = write_clip(tmp_path / "a.wav", sound=level * tone(seconds), audio_codec="pcm_s16le")
    (first, *_) = windows(path, reader)
    judged = level > 0 and seconds > 0.1
    assert ("overall" in first.missing) != judged
    if not judged:
        assert first.missing["overall"].startswith("no video: the file has no video stream; no audio: ")


def test_mostly_damaged_pictures_are_not_judged(reader: MediaReader, tmp_path: Path) -> None:
    class Damaged(MediaReader):
        def read_clip(self, path: object, spec: DecodeSpec = DecodeSpec()) -> Clip:
            clip = super().read_clip(path, spec)  # type: ignore[arg-type]
            assert clip.video is not None
            clip.video.damaged = len(clip.video.thumbs) - 4
            return clip

    path = write_clip(tmp_path / "a.mp4", steady(20))
    with Damaged() as damaged:
        (window,) = windows(path, damaged)
    assert window.missing["video"] == "mostly damaged: 16 errors in 20 frames"
    assert "overall" in window.missing
    assert "overall" not in windows(path, reader)[0].missing


@pytest.mark.parametrize("empty", [{0.0}, {2.0, 4.0}, {6.0}])
def test_a_hole_is_left_out_and_told(tmp_path: Path, empty: set[float]) -> None:
    class Holes(MediaReader):
        def read_clip(self, path: object, spec: DecodeSpec = DecodeSpec()) -> Clip:
            if spec.start in empty:
                raise EmptyWindow("nothing there")
            return super().read_clip(path, spec)  # type: ignore[arg-type]

    path = write_clip(tmp_path / "a.mp4", steady(240), size=(96, 64))
    with Holes() as reader:
        found = windows(path, reader)
        told = {w for p in found for w in p.warnings}
    assert [p.start for p in found] == [s for s in (0.0, 2.0, 4.0, 6.0) if s not in empty]
    assert told == {f"nothing between {s:g} and {s + 2:g} s could be decoded; it is not judged" for s in empty}


def test_nothing_at_all_is_an_error(plain: Path) -> None:
    class Empty(MediaReader):
        def read_clip(self, path: object, spec: DecodeSpec = DecodeSpec()) -> Clip:
            raise EmptyWindow("nothing there")

    with Empty() as reader, pytest.raises(EmptyWindow):
        windows(plain, reader)


def test_no_window_rests_on_a_held_picture(reader: MediaReader, tmp_path: Path) -> None:
    """A half-written recording announces twice of what it has."""
    path = write_clip(tmp_path / "a.mkv", steady(160, 10), size=(96, 64), sound=tone(16))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = windows(path, reader)
    assert 2 <= len(found) <= 6
    assert all(len(p.views.notes["frame_times"]) >= 2 for p in found)  # type: ignore[arg-type]
    assert found[-1].end <= found[-1].info.duration
    assert any(w.startswith("truncated: ") for w in found[0].warnings)


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "s.mkv", [0, 4 * TICK, 8 * TICK], size=(96, 64))


def test_slides_stay_on_screen(reader: MediaReader, slides: Path) -> None:
    found = windows(slides, reader)
    assert [p.start for p in found] == [0.0, 2.0, 4.0, 6.0]
    assert all(isinstance(p.views.whole, np.ndarray) for p in found)
