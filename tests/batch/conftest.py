"""Clips that are no media: the fake rater only looks at their bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Ten readable files (two with equal bytes, one in a folder below), one that fails, one that is no media name."""
    folder = tmp_path / "clips"
    (folder / "below").mkdir(parents=True)
    for i in range(8):
        (folder / f"c{i}.mp4").write_bytes(b"clip %d" % i)
    (folder / "copy of 0.mp4").write_bytes(b"clip 0")
    (folder / "below" / "deep.MKV").write_bytes(b"deep")
    (folder / "wrong.mp4").write_bytes(b"BAD")
    (folder / "notes.txt").write_text("not a clip")
    return folder
