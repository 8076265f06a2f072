"""What is written reads back; what can not be written says so and is continued."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from test_resume import rows, run, start, wait_for_rows

from mllm_avqa.batch import COLUMNS
from mllm_avqa.batch.journal import read_rows, write_rows
from mllm_avqa.batch.outputs import export, journal_path
from mllm_avqa.schema.errors import ConfigError, OutputError

HOSTILE = {
    "carriage return": "one\rtwo\r\nthree",
    "long": "x" * 99_999,
    "controls": "\x1b[31m\x00\x7f\x9b\u2028",
    "quotes": "\"a\", 'b'",
    "formula": "=1+1",
    "like an escaped formula": "''@x",
    "surrogate": "a \ud800 b",
}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_row_reads_back_and_is_current(clips: Path, tmp_path: Path, kind: str) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"path": "clips/c1.mp4", "text": t}) + "\n" for t in HOSTILE.values()))
    out = tmp_path / f"out.{kind}"
    assert run(out, manifest=manifest)[0].rated == len(HOSTILE)
    found = pq.read_table(out).to_pylist() if kind == "parquet" else rows(out)
    expected = [t.replace("\ud800", "\\ud800") for t in HOSTILE.values()]
    if kind == "csv":
        expected = [f"'{t}" if t.startswith(("=", "''")) else t for t in expected]
    assert [r["user_text"] for r in found] == expected
    result, rater = run(out, manifest=manifest)
    assert (result.current, rater.seen) == (len(HOSTILE), [])


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_starts_a_formula(clips: Path, tmp_path: Path, begin: str) -> None:
    (clips / "m.csv").write_text(f'path,text\nc1.mp4,"{begin}cmd|calc"\n', newline="")
    run(out := tmp_path / "out.csv", manifest=clips / "m.csv")
    assert rows(out)[0]["user_text"] == f"'{begin}cmd|calc"
    assert float(rows(out)[0]["overall"]) > 0  # numbers stay numbers


def test_lines_of_a_manifest_that_can_not_be_rated_are_rows_and_the_rest_goes_on(clips: Path, tmp_path: Path) -> None:
    deep = '{"path": "c1.mp4", "more": ' + "[" * 10_000 + "]" * 10_000 + "}"
    lines = [
        r'{"path": "c\ud800.mp4"}',
        r'{"path": "c\u0000.mp4"}',
        json.dumps({"path": "c2.mp4", "text": "x" * 200_000}),
        deep,
        json.dumps({"path": "c2.mp4", "n": 0}).replace("0", "9" * 5000),
        '{"path": "' + "x" * 5_000_000 + '"}',
        '{"path": "c3.mp4"}',
    ]
    (clips / "m.jsonl").write_text("\n".join(lines) + "\n")
    for kind in ("jsonl", "csv", "parquet"):
        out = tmp_path / f"out.{kind}"
        first, _ = run(out, manifest=clips / "m.jsonl")
        assert (first.rated, first.failed) == (2, 5)
        second, rater = run(out, manifest=clips / "m.jsonl")
        assert (second.current, second.failed, rater.seen) == (2, 5, [])
        found = pq.read_table(out).to_pylist() if kind == "parquet" else rows(out)
        assert sorted(r["error_kind"] or "" for r in found) == [
            "",
            "",
            "config",
            "config",
            "config",
            *["not_found"] * 2,
        ]


def test_a_manifest_in_another_encoding_names_the_line(clips: Path, tmp_path: Path) -> None:
    (clips / "m.txt").write_bytes(b"c1.mp4\n\xe9t\xe9.mp4\n")
    with pytest.raises(ConfigError, match=r"m\.txt:2: not UTF-8"):
        run(tmp_path / "out.csv", manifest=clips / "m.txt")


def test_devices_and_pipes_are_no_output(clips: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "out.csv.journal")
    (tmp_path / "null.jsonl").symlink_to("/dev/null")
    for name in ("pipe.csv", "out.csv", "null.jsonl"):
        with pytest.raises(OutputError, match="a device or a pipe"):
            run(tmp_path / name, clips)


def test_rows_on_standard_output(clips: Path) -> None:
    process = start("score", clips, "-o", "-", "--allow-errors", sleep=0)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    found = [json.loads(line) for line in stdout.splitlines()]
    assert (len(found), list(found[0])) == (11, list(COLUMNS))
    assert "10 rated, 1 failed" in stderr
    process = start("score", clips, "-o", "-")
    assert process.stdout is not None
    process.stdout.close()  # `| head`
    process.wait(60)
    assert process.returncode == 2
    assert process.stderr is not None
    assert "standard output can not be written" in process.stderr.read()


@pytest.fixture
def small_disk() -> Any:
    """Files of this process may not grow beyond so many bytes: the nearest to a full disk without mounting one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_full_disk_is_an_error_and_is_continued(clips: Path, tmp_path: Path, small_disk: Any, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    small_disk(9000)
    with pytest.raises(OutputError, match=r"can not be written: .*run the same command again"):
        run(out, clips)
    small_disk(None)
    journal = journal_path(out)
    kept = len(rows(journal))
    assert 1 <= kept < 11  # whole rows only
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == [journal.name]  # no lock, no part
    assert run(out, clips)[0].current == kept
    assert len(pq.read_table(out).to_pylist() if kind == "parquet" else rows(out)) == 11


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_that_does_not_fit_keeps_the_journal(clips: Path, tmp_path: Path, small_disk: Any, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    run(tmp_path / "all.jsonl", clips)
    write_rows(journal_path(out), read_rows(tmp_path / "all.jsonl"))
    small_disk(3000)
    with pytest.raises(OutputError, match=r"can not be written: .*its rows are kept in .*journal"):
        export(out)
    small_disk(None)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == [journal_path(out).name]
    assert export(out) == 11
    assert run(out, clips)[0].current == 10


def test_a_table_is_to_be_had_at_any_time(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert start("score", "-o", out, "--export").wait(60) == 2  # nothing there yet
    process = start("score", clips, "-o", out, sleep=0.5)
    wait_for_rows(process, journal_path(out), 3)
    process.send_signal(signal.SIGSTOP)  # in the middle of its work for as long as this takes
    exporting = start("score", "-o", out, "--export")
    assert exporting.wait(60) == 0
    assert 3 <= len(rows(out)) < 11
    process.kill()
    process.communicate()
    settings = {"context": "fast", "lang": "en", "reader": "pyav", "asr": "none"}
    result, _ = run(out, clips, settings=settings)
    assert result.current >= 3
    assert len(rows(out)) == 11
    assert not journal_path(out).exists()
    assert start("score", "-o", out, "--export").wait(60) == 0  # all is there already


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_of_the_version_before_are_continued(clips: Path, tmp_path: Path, kind: str) -> None:
    run(tmp_path / "now.jsonl", clips)
    old = rows(tmp_path / "now.jsonl")
    out = tmp_path / f"out.{kind}"
    if kind == "csv":
        with out.open("w", newline="") as f:  # as it was written: lines end with LF, nothing is neutralised
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(["" if r[c] is None else r[c] for c in COLUMNS] for r in old)
    else:
        import pyarrow as pa

        pq.write_table(pa.Table.from_pylist(old), out)
    result, rater = run(out, clips)
    assert (result.current, result.failed, len(rater.seen)) == (10, 1, 1)
    found = pq.read_table(out).to_pylist() if kind == "parquet" else rows(out)
    assert sorted(r["file"] for r in found) == sorted(r["file"] for r in old)
