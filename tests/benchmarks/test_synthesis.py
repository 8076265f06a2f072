"""The parts of the synthesis benchmark that are not timings."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import synthesis
from benchmarks.base import Cost, make_clip

ELF = Path(__file__).parents[2] / "examples" / "elf.mp4"


def test_the_floor_is_made_in_between() -> None:
    jobs = synthesis.interleaved([str(i) for i in range(9)])
    assert [i for i, job in enumerate(jobs) if job == synthesis.FLOOR] == [0, 5, 10, 12]
    assert [job for job in jobs if job != synthesis.FLOOR] == [str(i) for i in range(9)]


def test_the_target_is_judged_on_all_kinds_together() -> None:
    floors = [Cost(2.0, 0.9), Cost(2.0, 1.1)]
    ours = {"slow": Cost(6.0, 3.0), "fast": Cost(2.0, 1.0)}
    rows = synthesis.report(floors, ours, 2, 8.0).rows
    assert rows[0].ratio == pytest.approx(1 / 2)  # 1 s of the floor against (3 + 1) / 2 s, not the mean of 1/3 and 1
    assert rows[0].met is False
    assert (rows[1].ours, rows[1].peer) == ("0.50/s", "1.00/s")
    assert [(r.what, round(r.ratio, 2)) for r in rows[2:]] == [("slow", 0.33), ("fast", 1.0)]
    assert synthesis.report(floors, {"fast": Cost(2.0, 1.6)}, 2, 8.0).rows[0].met is True


@pytest.mark.skipif(not ELF.is_file(), reason="the example clip is not here")
def test_both_sides_write_the_whole_clip(tmp_path: Path) -> None:
    import av

    source = make_clip(ELF, tmp_path / "c.mp4", height=96, seconds=1.0)
    synthesis.transcode(source, tmp_path / "floor.mp4")
    synthesis.distorted(source, tmp_path / "ours.mp4", "bgnoise")
    for name in ("floor.mp4", "ours.mp4"):
        with av.open(str(tmp_path / name)) as box:
            assert (box.streams.video[0].frames, box.streams.video[0].height) == (30, 96)
            assert sum(f.samples for f in box.decode(audio=0)) == pytest.approx(44100, abs=2048)
