"""A small run of `python -m tests.abuse kills`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kills import KINDS, kill_runs


def test_a_few_kills_lose_and_double_nothing() -> None:
    result = kill_runs(len(KINDS), seed=3, sleep=0.03)
    assert result.good, (str(result), result.failed)
    assert sum(result.kills.values()) >= 3
