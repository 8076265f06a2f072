"""Clips and a reader that the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from media_synth import steady, tone, write_clip

from mllm_avqa.media import MediaReader


@pytest.fixture(scope="session")
def reader() -> Iterator[MediaReader]:
    with MediaReader() as shared:
        yield shared


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 s, 30 fps, 320x180 H.264 with B-frames and a 440 Hz tone; index at the end."""
    options = {"bf": "3", "b_strategy": "0", "g": "24"}
    return write_clip(tmp_path_factory.mktemp("plain") / "plain.mp4", steady(60), options=options, sound=tone(2.0))


@pytest.fixture(scope="session")
def faststart(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, 4 s, index at the beginning."""
    path = tmp_path_factory.mktemp("fast") / "fast.mp4"
    options = {"bf": "2", "g": "24"}
    return write_clip(path, steady(120), options=options, sound=tone(4.0), container_options={"movflags": "+faststart"})
