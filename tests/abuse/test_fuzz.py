"""A small run of `python -m tests.abuse fuzz`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fuzz import PICTURES, SEEDS, fuzz


def test_mutated_files_end_in_results_and_typed_errors() -> None:
    result = fuzz(3 * (len(SEEDS) + len(PICTURES)), seed=4)
    assert result.good, result.table()
    assert result.rated > 20
    assert sum(result.typed.values()) > 5
