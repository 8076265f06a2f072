"""Killed, interrupted, torn, changed: every clip ends up in the output exactly once."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake_rater import FakeRater

from mllm_avqa.batch import BatchOptions, BatchResult, run_batch
from mllm_avqa.schema.errors import MediaTimeout, OutputError
from mllm_avqa.schema.rating import Rating

HERE = Path(__file__).parent


def run(out: Path, *inputs: Path, weights: str = "w1", **more: Any) -> tuple[BatchResult, FakeRater]:
    rater = FakeRater(weights)
    return run_batch(lambda: rater, BatchOptions(out, [str(i) for i in inputs], **more)), rater


def rows(out: Path) -> list[dict[str, Any]]:
    if out.suffix == ".csv":
        with out.open(newline="") as f:
            return [{k: v or None for k, v in row.items()} for row in csv.DictReader(f)]
    return [json.loads(line) for line in out.read_text().splitlines()]


def start(*arguments: str | Path, sleep: float = 0.1) -> subprocess.Popen[str]:
    root = str(HERE.parent.parent)
    env = {**os.environ, "FAKE_SLEEP": str(sleep), "PYTHONPATH": os.pathsep.join([str(HERE), root])}
    command = [sys.executable, str(HERE / "run_fake.py"), *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(process: subprocess.Popen[str], path: Path, n: int) -> None:
    """Until `path` holds n lines. Says what the process said if it ends or takes a minute."""
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < n:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"wrote no {n} lines: {process.communicate()}")
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_killed_half_way(clips: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    growing = out if kind == "jsonl" else out.with_name(out.name + ".journal")
    process = start("score", clips, "-o", out, "--explain")
    wait_for_rows(process, growing, 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert kind == "jsonl" or not out.exists()
    with growing.open("ab") as f:  # and the kill hit in the middle of a row
        f.write(json.dumps(rows(growing)[-1]).encode()[:-3])
    settings = {"context": "fast", "lang": "en", "reader": "pyav", "asr": "none"}
    result, rater = run(out, clips, explain=True, settings=settings)
    assert 1 <= result.current <= 10
    assert len(rater.seen) == 11 - result.current
    found = pq.read_table(out).to_pylist() if kind == "parquet" else rows(out)
    assert sorted(Path(r["file"]).name for r in found) == sorted(
        p.name for p in clips.rglob("*.*") if p.suffix != ".txt"
    )
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == [out.name]
    again, rater = run(out, clips, explain=True, settings=settings)
    assert again.rated == 0
    assert [Path(p).name for p in rater.seen] == ["wrong.mp4"]  # only the error is tried again


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_finishes_the_row_and_says_how_to_continue(
    clips: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    out = tmp_path / "out.jsonl"
    process = start("score", clips, "-o", out)
    wait_for_rows(process, out, 2)
    process.send_signal(sign)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + sign
    assert stdout == ""
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr
    assert 2 <= len(rows(out)) < 11  # whole rows, every line parses
    assert start("score", clips, "-o", out, "--allow-errors", sleep=0).wait(60) == 0
    assert len(rows(out)) == 11


class Interrupting(FakeRater):
    """Ctrl-C arrives while the third clip is rated, and `fails`: with the process that reads the clip."""

    fails = False

    def rate(self, path: str | Path, **more: Any) -> Rating:
        rating = super().rate(path, **more)
        if len(self.seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            if self.fails:
                raise MediaTimeout("the reading process was interrupted")
        return rating


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_keeps_the_row_in_work_but_blames_no_clip(clips: Path, tmp_path: Path, fails: bool) -> None:
    out = tmp_path / "out.jsonl"
    handler = signal.getsignal(signal.SIGINT)
    rater = Interrupting()
    rater.fails = fails
    result = run_batch(lambda: rater, BatchOptions(out, [str(clips)]))
    assert (result.stopped, result.rated, result.failed) == (True, 2 if fails else 3, 0)
    assert [r["status"] for r in rows(out)] == ["ok"] * result.rated
    assert rater.closed
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("keep", [5, 40, -1])
def test_torn_last_line_is_dropped(clips: Path, tmp_path: Path, keep: int) -> None:
    out = tmp_path / "out.jsonl"
    run(out, clips / "c1.mp4", clips / "c2.mp4")
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(lines[0] + lines[1][:keep])
    run(out, clips / "c1.mp4")
    assert out.read_bytes() == lines[0]  # gone even when nothing is written after it
    out.write_bytes(lines[0] + lines[1][:keep])
    result, rater = run(out, clips / "c1.mp4", clips / "c2.mp4")
    assert (result.current, [Path(p).name for p in rater.seen]) == (1, ["c2.mp4"])
    assert [Path(r["path"]).name for r in rows(out)] == ["c1.mp4", "c2.mp4"]


def test_error_rows_are_tried_again_and_replaced(clips: Path, tmp_path: Path) -> None:
    for kind in ("jsonl", "csv"):
        (clips / "wrong.mp4").write_bytes(b"BAD")
        out = tmp_path / f"out.{kind}"
        assert run(out, clips)[0].failed == 1
        bad = next(r for r in rows(out) if r["status"] == "error")
        assert (bad["error_kind"], Path(bad["path"]).name, bad["overall"]) == ("not_media", "wrong.mp4", None)
        (clips / "wrong.mp4").write_bytes(b"whole now")
        result, rater = run(out, clips)
        assert (result.rated, result.failed, result.current) == (1, 0, 10)
        assert len(rater.seen) == 1
        assert len(rows(out)) == 11
        assert {r["status"] for r in rows(out)} == {"ok"}


def test_changed_bytes_are_rated_again_and_replace_the_row(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(out, clips)
    (clips / "c3.mp4").write_bytes(b"another take")
    os.utime(clips / "c4.mp4")  # touched, not changed
    _, rater = run(out, clips)
    assert {Path(p).name for p in rater.seen} == {"c3.mp4", "wrong.mp4"}
    assert len(rows(out)) == 11
    assert len({r["content_hash"] for r in rows(out) if r["file"] == str(clips / "c3.mp4")}) == 1


def test_equal_bytes_under_two_paths_are_two_rows_and_a_path_listed_twice_is_one(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(out, clips / "c0.mp4", clips / "copy of 0.mp4", clips / "below/../c0.mp4")
    first, second = rows(out)
    assert first["content_hash"] == second["content_hash"]
    assert first["overall"] == second["overall"]


def test_one_clip_with_two_texts_is_two_rows(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    (clips / "m.csv").write_text("path,text\nc1.mp4,a dog\nc1.mp4,a cat\n")
    for expected in (2, 0):
        assert run(out, manifest=clips / "m.csv")[0].rated == expected
    assert [r["user_text"] for r in rows(out)] == ["a dog", "a cat"]


def test_a_data_set_that_moved_is_recognised_by_its_manifest(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    (clips / "m.txt").write_text("c1.mp4\nc2.mp4\n")
    run(out, manifest=clips / "m.txt")
    moved = clips.rename(tmp_path / "elsewhere")
    assert run(out, manifest=moved / "m.txt")[0].current == 2


def test_vanished_file_is_a_row(clips: Path, tmp_path: Path) -> None:
    (clips / "m.txt").write_text("gone.mp4\n.\nc1.mp4\n")
    run(out := tmp_path / "out.jsonl", manifest=clips / "m.txt")
    assert [(r["path"], r["error_kind"]) for r in rows(out)] == [
        ("gone.mp4", "not_found"),
        (".", "not_a_file"),
        ("c1.mp4", None),
    ]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_rows_of_another_model_are_refused(clips: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    run(out, clips / "c1.mp4")
    before = out.read_bytes()
    with pytest.raises(OutputError, match=r"weights=w1.*weights=w2.*--fresh"):
        run(out, clips / "c1.mp4", weights="w2")
    with pytest.raises(OutputError, match="explain=no"):
        run(out, clips / "c1.mp4", explain=True)
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clips", out.name]
    run(out, clips / "c1.mp4", weights="w2", fresh=True)
    found = pq.read_table(out).to_pylist() if kind == "parquet" else rows(out)
    assert ["weights=w2" in r["fingerprint"] for r in found] == [True]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("out.jsonl", b'{"my": "own file"}\n'),
        ("out.jsonl", b"my notes, without a line end"),
        ("out.csv", b"path,mos\na.mp4,3\n"),
        ("out.csv", b"my notes"),
        ("out.parquet", b"PAR0"),
    ],
)
def test_files_of_others_are_left_alone(clips: Path, tmp_path: Path, name: str, content: bytes) -> None:
    out = tmp_path / name
    out.write_bytes(content)
    with pytest.raises(OutputError, match="another -o"):
        run(out, clips)
    assert out.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 2  # no lock, journal or part left


def test_two_runs_on_one_output_are_refused(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    process = start("score", clips, "-o", out)
    wait_for_rows(process, out, 1)
    with pytest.raises(OutputError, match="another run"):
        run(out, clips)
    process.kill()
    process.communicate()


def test_workers_give_the_same_file(clips: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    run(one, clips)
    result = run_batch(FakeRater, BatchOptions(two, [str(clips)], workers=2, batch_size=2))
    assert (result.rated, result.failed) == (10, 1)
    assert two.read_text() == one.read_text()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_seconds_of_all_clips(clips: Path, tmp_path: Path, kind: str) -> None:
    """A block for each rated clip, kept and extended by later runs, without what a newer one replaces."""
    out, table = tmp_path / "out.csv", tmp_path / f"seconds.{kind}"

    def seconds() -> list[dict[str, Any]]:
        return rows(table) if kind == "csv" else pq.read_table(table).to_pylist()

    run(out, clips / "c0.mp4")
    result, _ = run(out, clips / "c0.mp4", clips / "c1.mp4", clips / "wrong.mp4", timeline=table)
    assert (result.rated, result.failed) == (2, 1)  # the first had no seconds
    first = seconds()
    assert [Path(r["path"]).name for r in first] == ["c0.mp4"] * 8 + ["c1.mp4"] * 8
    assert [float(r["second"]) for r in first[:8]] == list(range(8))
    assert float(first[3]["overall_score"]) == pytest.approx(float(rows(out)[0]["overall"]), abs=1e-6)
    with pytest.raises(OutputError, match="a file of their own"):
        run(out, clips / "c0.mp4", timeline=out)

    (clips / "c1.mp4").write_bytes(b"clip 3")
    manifest = tmp_path / "list.csv"
    lines = [f"{clips / name},{number}" for name, number in (("c1.mp4", 7), ("c2.mp4", 8), ("c2.mp4", 9))]
    manifest.write_text("\n".join(["path,id", *lines]))
    run(out, clips / "c0.mp4", clips / "c1.mp4", timeline=table)
    result, _ = run(out, manifest=manifest, timeline=table)
    told = [(Path(r["path"]).name, r["id"]) for r in seconds()[::8]]
    assert told == [("c0.mp4", None), ("c1.mp4", None), ("c1.mp4", "7"), ("c2.mp4", "8"), ("c2.mp4", "9")]
    assert result.rated == 3
    assert run(out, manifest=manifest, timeline=table)[0].rated == 0
    assert len(seconds()) == 40
    table.write_bytes(b"a,b\n1,2\n" if kind == "csv" else b"PAR1")
    with pytest.raises(OutputError, match="--timeline"):
        run(out, clips / "c0.mp4", timeline=table)
    assert run(out, clips / "c0.mp4", timeline=table, fresh=True)[0].rated == 1
    assert {p.name for p in tmp_path.iterdir()} == {"clips", "list.csv", "out.csv", table.name}
