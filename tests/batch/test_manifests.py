"""The user's columns go through a batch unchanged: rows in, rows out, joined by id."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_rater import FakeRater
from test_resume import rows, run

from mllm_avqa.batch.inputs import expand
from mllm_avqa.batch.manifests import ManifestColumns
from mllm_avqa.schema.errors import ConfigError

ROWS = [
    {"key": "a", "clip": "c1.mp4", "mos": 3.25, "overall": "mine", "words": "a dog, \"barking\"", "from": 1, "to": 3.5},
    {"key": "b", "clip": "c1.mp4", "mos": 4, "overall": "", "words": "a dog, \"barking\"", "from": 1, "to": 3.5},
    {"key": "b", "clip": "c1.mp4", "mos": 5, "overall": "=1+1", "words": "a dog, \"barking\"", "from": 1, "to": 3.5},
    {"key": "c", "clip": "wrong.mp4", "mos": 1, "overall": "x", "words": None, "from": None, "to": None},
]  # fmt: skip
COLUMNS = ManifestColumns("clip", "key", "words", "from", "to")


def write(path: Path, given: list[dict[str, Any]] = ROWS) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in given))
    elif path.suffix == ".parquet":
        floats = [{k: float(v) if k == "mos" else v for k, v in r.items()} for r in given]  # a column has one type
        pq.write_table(pa.Table.from_pylist(floats), path)
    else:
        with path.open("w", newline="") as f:
            writer = csv.DictWriter(f, list(given[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(given)
    return path


class Spans(FakeRater):
    def rate_many(self, paths: Any, *, spans: Any = None, **more: Any) -> Any:
        self.spans = spans
        return super().rate_many(paths, **more)


def read(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out).to_pylist() if out.suffix == ".parquet" else rows(out)


@pytest.mark.parametrize("given", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_column_comes_back_for_every_row(clips: Path, tmp_path: Path, given: str, kind: str) -> None:
    manifest, out = write(clips / f"m.{given}"), tmp_path / f"out.{kind}"
    rater = Spans()
    from mllm_avqa.batch import BatchOptions, run_batch

    result = run_batch(lambda: rater, BatchOptions(out, manifest=manifest, columns=COLUMNS))
    assert (result.rated, result.failed) == (3, 1)
    assert len(rater.seen) == 2  # three lines list one clip
    assert rater.spans[0] == (1.0, 3.5)
    found = sorted(read(out), key=lambda r: (r["id"], float(r["mos"])))
    assert [(r["id"], r["key"]) for r in found] == [("a", "a"), ("b", "b"), ("b", "b"), ("c", "c")]
    assert [float(r["mos"]) for r in found] == [3.25, 4, 5, 1]
    assert [r["manifest_overall"] or "" for r in found] == ["mine", "", "=1+1", "x"]
    assert [float(r["overall"]) for r in found[:3]] == [float(found[0]["overall"])] * 3
    assert [r["user_text"] for r in found] == ['a dog, "barking"'] * 3 + [None]
    assert [float(r["start"]) for r in found[:3]] == [1.0] * 3
    assert [r["clip"] for r in found] == ["c1.mp4"] * 3 + ["wrong.mp4"]
    again = Spans()
    result = run_batch(lambda: again, BatchOptions(out, manifest=manifest, columns=COLUMNS))
    assert (result.current, len(again.seen)) == (3, 1)  # only what failed is tried again
    assert len(read(out)) == 4


def test_changed_columns_are_brought_up_without_rating(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    for mos in ("3", "4"):
        (clips / "m.csv").write_text(f"path,mos\nc1.mp4,{mos}\nc2.mp4,2\n")
        _, rater = run(out, manifest=clips / "m.csv")
    assert rater.seen == []
    assert [r["mos"] for r in rows(out)] == ["4", "2"]


def test_numbers_stay_numbers_and_nested_values_stay_whole(clips: Path, tmp_path: Path) -> None:
    line = {"path": "c1.mp4", "n": 3, "deep": {"a": [1, 2]}, "yes": True, "x": 0.1}
    (clips / "m.jsonl").write_text(json.dumps(line) + "\n")
    run(tmp_path / "out.jsonl", manifest=clips / "m.jsonl")
    assert rows(tmp_path / "out.jsonl")[0].items() >= line.items()
    run(tmp_path / "out.parquet", manifest=clips / "m.jsonl")
    found = read(tmp_path / "out.parquet")[0]
    assert (found["n"], found["yes"], found["x"], json.loads(found["deep"])) == (3, True, 0.1, {"a": [1, 2]})


READ = {"path": "c1.mp4", "id": 7, "text": " a\x00 dog ", "start": 0, "end": 2}


@pytest.mark.parametrize("given", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_columns_that_are_read_come_back_as_written_too(clips: Path, tmp_path: Path, given: str, kind: str) -> None:
    lines = [READ, {**READ, "id": 8, "start": 1, "end": None}]
    run(tmp_path / f"out.{kind}", manifest=write(clips / f"m.{given}", lines))
    written = [{k: "" if v is None else str(v) for k, v in line.items()} for line in lines]
    found = read(tmp_path / f"out.{kind}")
    for row, typed, text in zip(found, lines, written, strict=True):
        expected = text if "csv" in (given, kind) else typed
        assert row["path"] == "c1.mp4"
        assert float(row["start"]) == typed["start"]
        for name in ("id", "text", "start", "end"):
            told = row[f"manifest_{name}"]
            assert ("" if told is None else told) == ("" if expected[name] is None else expected[name]), name
            assert told is None or type(told) is type(expected[name])


def test_spans_that_are_none_are_rows_with_an_error(clips: Path, tmp_path: Path) -> None:
    (clips / "m.csv").write_text("path,start,end\nc1.mp4,x,\nc2.mp4,5,2\nc3.mp4,-1,\nc4.mp4,,\n")
    result, _ = run(tmp_path / "out.jsonl", manifest=clips / "m.csv")
    assert (result.rated, result.failed) == (1, 3)
    errors = " ".join(r["error"] for r in rows(tmp_path / "out.jsonl") if r["error"])
    for part in ("m.csv:2: 'start' must be seconds", "not '-1' (--start-column)", "m.csv:3: the span ends at 2 s"):
        assert part in errors


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("file\nx.mp4\n", ManifestColumns(), r"no column 'path', only \['file'\] \(--path-column\)"),
        ("path\nx.mp4\n", ManifestColumns(id_column="key"), r"no column 'key'.*\(--id-column\)"),
        ("path,a,a\nx.mp4,1,2\n", ManifestColumns(), "two columns are called 'a'"),
        ("path,a\nx.mp4,1,2\n", ManifestColumns(), r"m\.csv:2: more cells than columns"),
        ("path,blur,manifest_blur\nx.mp4,1,2\n", ManifestColumns(), "columns 'blur' and 'manifest_blur' would be one"),
    ],
)
def test_tables_that_mean_nothing(tmp_path: Path, content: str, columns: ManifestColumns, message: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(ConfigError, match=message):
        list(expand([], tmp_path / "m.csv", columns=columns))
