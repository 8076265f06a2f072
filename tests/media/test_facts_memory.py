"""The facts of a file are read once for all its windows, and anew whenever the file may be another one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mllm_avqa.media import DecodeSpec, Limits
from mllm_avqa.media.facts import read_facts
from mllm_avqa.media.readers import pyav_reader
from mllm_avqa.media.readers.pyav_reader import PyAVReader
from mllm_avqa.schema.errors import MediaNotFound, MediaTooLarge


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def counted(path, limits):
        seen.append(path)
        return read_facts(path, limits)

    monkeypatch.setattr(pyav_reader, "read_facts", counted)
    return seen


def test_windows_of_a_file_share_its_facts(reads: list[str], faststart: Path) -> None:
    reader, path = PyAVReader(), str(faststart)
    info = reader.probe(path, Limits())
    clips = [reader.read_clip(path, DecodeSpec(start=s, duration=1), Limits()) for s in (0.0, 1.0, 2.0)]
    assert len(reads) == 1
    assert all(clip.info == info for clip in clips)
    clips[0].info.metadata["title"] = "changed by a caller"
    assert reader.read_clip(path, DecodeSpec(), Limits()).info == info


def test_a_probe_and_a_changed_file_are_read_anew(
    reads: list[str], plain: Path, faststart: Path, tmp_path: Path
) -> None:
    reader, path = PyAVReader(), tmp_path / "a.mp4"
    shutil.copy(plain, path)
    first = reader.read_clip(str(path), DecodeSpec(), Limits())
    shutil.copy(faststart, path)
    second = reader.read_clip(str(path), DecodeSpec(), Limits())
    assert (first.end, second.end) == (2.0, 4.0)
    reader.probe(str(path), Limits())
    assert len(reads) == 3
    os.unlink(path)
    with pytest.raises(MediaNotFound):
        reader.read_clip(str(path), DecodeSpec(), Limits())


def test_other_limits_are_not_answered_from_memory(plain: Path) -> None:
    reader = PyAVReader()
    reader.read_clip(str(plain), DecodeSpec(), Limits())
    with pytest.raises(MediaTooLarge, match="--max-pixels"):
        reader.read_clip(str(plain), DecodeSpec(), Limits(max_pixels=100))
