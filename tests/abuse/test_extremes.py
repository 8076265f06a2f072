"""A small run of `python -m tests.abuse extremes`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from extremes import extremes


def test_extremes_are_measured_or_refused() -> None:
    result = extremes(60, seed=7)
    assert result.good, result.table()
    assert result.measured > 45
