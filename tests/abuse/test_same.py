"""A small run of what must not change a score (see `same.py`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from giants import film
from same import compared, difference


def test_scores_do_not_depend_on_what_else_is_done(tiny_dir: Path, tmp_path: Path) -> None:
    clips = [str(film(tmp_path / f"{n}.mp4", 1, (128, 96), 10 + 5 * n)) for n in range(2)]
    found = dict(compared(clips, str(tiny_dir), processes=False))
    assert len(found) == 12
    assert max(found.values()) <= 1e-4  # a tiny model's rounding in batches of other shapes


def test_difference() -> None:
    one = {"a": {"video": 3.0, "audio": 2.0}}
    assert difference(one, {"a": {"video": 3.5, "audio": 2.0}}) == 0.5
    assert difference(one, {"a": {"video": 3.0}}) == float("inf")
    assert difference(one, one) == 0
