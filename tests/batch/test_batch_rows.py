"""Flat rows: one schema for three formats."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_rater import FakeRater, rating_of

from mllm_avqa.batch import COLUMNS, BatchOptions, run_batch
from mllm_avqa.batch.rows import rating_row
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.plain import plain

FLOATS = ("overall", "video", "overall_std", "duration", "fps", "seconds")


def test_row_flattens_a_rating() -> None:
    row = rating_row(
        rating_of("a.mp4", 4), path="a.mp4", file=Path("/x/a.mp4"), user_text=None, content_hash="h", fingerprint="f=1"
    )
    assert row.overall == pytest.approx(3.5)  # analytic: .6 * 4 + .1 * (5 + 3 + 2 + 1)
    assert (row.overall_level, row.text, row.text_level) == ("good", None, None)
    assert row.text_missing == "no captions and no on-screen text found"
    assert row.overall_missing is None
    assert row.faults == "blur (strong)"
    assert (row.frames_used, row.windows, row.width, row.sample_rate) == (2, 1, 640, 48000)
    assert row.seconds == pytest.approx(0.3)


def test_undecodable_names_become_text() -> None:
    assert plain("a\udcff.mp4") == "a\\xff.mp4"


def test_csv_and_parquet_equal_jsonl(clips: Path, tmp_path: Path) -> None:
    tables = {}
    for kind in ("jsonl", "csv", "parquet"):
        out = tmp_path / f"out.{kind}"
        run_batch(FakeRater, BatchOptions(out, [str(clips)], explain=True))
        tables[kind] = out
    rows = [json.loads(line) for line in tables["jsonl"].read_text().splitlines()]
    assert len(rows) == 11
    assert list(rows[0]) == list(COLUMNS)
    assert any("\n" in (r["explanation"] or "") for r in rows)  # the hard case for CSV
    with tables["csv"].open(newline="") as f:
        for row, cells in zip(rows, csv.DictReader(f), strict=True):
            assert {k: v or None for k, v in cells.items()} == {
                k: None if v is None else str(v) for k, v in row.items()
            }
            assert [float(cells[c]) for c in FLOATS if cells[c]] == [row[c] for c in FLOATS if row[c] is not None]
    assert pq.read_table(tables["parquet"]).to_pylist() == rows
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clips", "out.csv", "out.jsonl", "out.parquet"]


def test_full_rows_hold_the_nested_rating(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run_batch(FakeRater, BatchOptions(out, [str(clips / "c1.mp4")], full=True))
    assert json.loads(out.read_text())["rating"]["scores"]["overall"]["probs"]["bad"] > 0
    with pytest.raises(OutputError, match="--full"):
        run_batch(FakeRater, BatchOptions(tmp_path / "out.csv", [str(clips)], full=True))
