"""How an error names the clip that it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.writing import told


@pytest.mark.parametrize("base", ["set", "."])
def test_a_clip_is_named_as_its_record_does(tmp_path, monkeypatch, base):
    monkeypatch.chdir(tmp_path)
    absolute, relative = tmp_path / base / "a/2.png", Path(base) / "a/2.png"
    assert told(OSError(f"{absolute}: gone"), Path(base), "a/2.png") == "a/2.png: gone"
    assert told(OSError(f"{relative}: gone"), Path(base), "a/2.png") == "a/2.png: gone"
    assert told(OSError(f"{absolute}: gone"), tmp_path / base, "a/2.png") == "a/2.png: gone"
