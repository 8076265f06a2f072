"""Rows in, rows out: whatever engine holds them."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raters import RowRater

from mllm_avqa.batch.manifests import ManifestColumns
from mllm_avqa.scale import RowSettings, rate_rows
from mllm_avqa.scale.dataset import _Actor
from mllm_avqa.scale.partitions import compact
from mllm_avqa.schema.errors import ConfigError


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    for k in range(5):
        (tmp_path / f"{k}.mp4").write_bytes(b"BAD" if k == 2 else b"x" * (k + 1))
    return [f"{k}.mp4" for k in range(5)]


def test_every_row_comes_back_with_its_own_columns(tmp_path: Path, clips: list[str]) -> None:
    settings = RowSettings(ManifestColumns(path_column="clip"), base=tmp_path, batch_size=2)
    given = [{"clip": c, "id": k, "shelf": f"s{k}"} for k, c in enumerate(clips)] + [{"clip": "gone.mp4", "id": 9}]
    rows = list(rate_rows(given, RowRater, settings))
    assert [r["id"] for r in rows] == ["0", "1", "2", "3", "4", "9"]
    assert [r["status"] for r in rows] == ["ok", "ok", "error", "ok", "ok", "error"]
    assert [r["duration"] for r in rows] == [1.0, 2.0, None, 4.0, 5.0, None]
    assert rows[3]["shelf"] == "s3" and rows[2]["error_kind"] == "not_media"


def test_a_row_without_a_path_is_named() -> None:
    with pytest.raises(ConfigError, match=r"rows:2.*--path-column"):
        list(rate_rows([{"path": "a.mp4"}, {"path": ""}], RowRater))


def block(clips: list[str], **more: object) -> pa.Table:
    return pa.Table.from_pylist([{"path": c, "n": k, **more} for k, c in enumerate(clips)])


def test_a_folder_goes_on_where_it_was_and_newer_rows_replace_older_ones(tmp_path: Path, clips: list[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    settings = RowSettings(base=tmp_path)
    _Actor(RowRater, settings, out)(block(clips))
    assert _Actor(RowRater, settings, out)(block(clips)).num_rows == 1  # the one that failed is tried again
    (tmp_path / "4.mp4").write_bytes(b"other")
    assert _Actor(RowRater, settings, out)(block(clips)).column("n").to_pylist() == [2, 4]
    assert compact(out) > 0
    table = pq.read_table(out)
    assert sorted(zip(table["n"].to_pylist(), table["duration"].to_pylist(), strict=True)) == [
        (0, 1.0), (1, 2.0), (3, 4.0), (4, 5.0),
    ]  # fmt: skip
    assert table.schema.field("n").type == pa.int64()
    changed = _Actor(partial(RowRater, "w2"), settings, out)(block(clips))  # other weights: all of them anew
    assert changed.num_rows == 5
