"""Embedded subtitles: times on the clip's clock, text without styling."""

from __future__ import annotations

from pathlib import Path

import pytest
from media_synth import steady, write_subtitles

from mllm_avqa import media
from mllm_avqa.media import MediaReader
from mllm_avqa.schema.cues import plain_text

CUES = [(0.5, 1.0, "{\\i1}Hello,{\\i0} world"), (1.2, 1.8, "one\\Ntwo 你好")]


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "ass"), ("mkv", "srt"), ("mp4", "mov_text")])
def test_embedded(reader: MediaReader, tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_subtitles(tmp_path / f"s.{suffix}", CUES, steady(60), codec, "fre")
    cues = reader.read_subtitles(path)
    assert [cue.text for cue in cues] == ["Hello, world", "one\ntwo 你好"]
    assert [(round(cue.start, 3), round(cue.end, 3)) for cue in cues] == [(0.5, 1.0), (1.2, 1.8)]
    assert {(cue.stream, cue.language) for cue in cues} == {(1, "fre")}
    assert reader.probe(path).subtitle_streams == 1


def test_times_share_the_clock_of_the_frames(reader: MediaReader, tmp_path: Path) -> None:
    path = write_subtitles(tmp_path / "s.mkv", [(5.5, 6.0, "late")], steady(60, start=5.0))
    (cue,) = reader.read_subtitles(path)
    assert cue.start == pytest.approx(0.5, abs=0.002)


def test_file_of_subtitles_alone(reader: MediaReader, tmp_path: Path) -> None:
    path = write_subtitles(tmp_path / "s.mkv", [(0.5, 1.0, "alone")])
    assert [cue.text for cue in reader.read_subtitles(path)] == ["alone"]


def test_none(plain: Path) -> None:
    assert media.read_subtitles(plain) == []


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("0,0,Default,,0,0,0,,a, b, c", "a, b, c"),
        ("0,0,Default,,0,0,0,,{\\an8}{\\pos(1,2)}up\\hhere", "up here"),
        ("0,0,Default,,0,0,0,,{\\p1}m 0 0 l 10 10{\\p0}", ""),
        ("0,0,Default,,0,0,0,,<i>tilted</i> 1 < 2", "tilted 1 < 2"),
    ],
)
def test_plain_text(event: str, text: str) -> None:
    assert plain_text(event) == text
