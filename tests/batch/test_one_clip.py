"""Whatever one clip does is that clip's row; whatever a user does ends the run within seconds."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_rater import FakeRater
from test_resume import rows, run, start, wait_for_rows

from mllm_avqa.batch import BatchOptions, run_batch
from mllm_avqa.batch.inputs import MEDIA_SUFFIXES, expand
from mllm_avqa.media import content_hash
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import ContextUnavailable, MediaTimeout, MediaTooLarge
from mllm_avqa.schema.rating import Rating


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_one_clip_is_its_row(clips: Path, tmp_path: Path, workers: int) -> None:
    (clips / "c2.mp4").write_bytes(b"BUG")
    out = tmp_path / "out.jsonl"
    for _ in range(2):  # and the second run goes on, too
        result = run_batch(FakeRater, BatchOptions(out, [str(clips)], workers=workers))
        assert (result.rated + result.current, result.failed) == (9, 2)
    found = {Path(r["file"]).name: r for r in rows(out)}
    assert len(found) == 11
    assert (found["c2.mp4"]["error_kind"], found["c1.mp4"]["status"]) == ("internal", "ok")
    assert found["c2.mp4"]["error"].startswith("IndexError: an exception nobody typed")
    assert "Traceback" not in out.read_text()


class Odd(FakeRater):
    """A score that is no number, and text that is none."""

    def rate(self, path: str | Path, **more: Any) -> Rating:
        rating = super().rate(path, **more)
        if Path(path).name == "c1.mp4":
            assert rating.scores["overall"] is not None
            rating.scores["overall"].score = float("nan")
        rating.warnings = ["a \ud800 lone surrogate, \x9b2J and \x1b[2J"]
        return rating


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_rating_that_is_no_row_is_an_error_row(clips: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    result = run_batch(Odd, BatchOptions(out, [str(clips)], full=kind == "jsonl"))
    assert (result.rated, result.failed) == (9, 2)
    if kind == "jsonl":
        assert b"\x9b" not in out.read_bytes() and b"\x1b" not in out.read_bytes()
        nested = [r["rating"] for r in rows(out) if r["rating"]]
        assert nested[0]["warnings"] == ["a \\ud800 lone surrogate, \x9b2J and \x1b[2J"]


def test_a_worker_that_dies_costs_one_clip(clips: Path, tmp_path: Path) -> None:
    (clips / "c3.mp4").write_bytes(b"KILL")
    out = tmp_path / "out.jsonl"
    result = run_batch(FakeRater, BatchOptions(out, [str(clips)], workers=2, batch_size=2))
    assert (result.rated, result.failed) == (9, 2)
    found = {Path(r["file"]).name: r for r in rows(out)}
    assert Counter(r["status"] for r in found.values()) == {"ok": 9, "error": 2}
    assert "the process that rated it died" in found["c3.mp4"]["error"]


class Unready(FakeRater):
    def rate_many(self, *_: Any, **__: Any) -> Iterator[Any]:
        raise ContextUnavailable("no engine for --context full")


def test_what_is_wrong_with_the_run_ends_it(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(ContextUnavailable):
        run_batch(Unready, BatchOptions(tmp_path / "out.jsonl", [str(clips)]))
    assert not (tmp_path / "out.jsonl.lock").exists()


# ---- budgets and signals

LATE = 20  # seconds: a signal is answered in `PATIENCE`, the rest is a busy machine; what is waited for takes minutes


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    path = tmp_path / "sparse.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42")
    os.truncate(path, 300 * 2**30)
    return path


def test_hashing_has_limits(sparse: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaTooLarge, match=r"322122547200 bytes, allowed are 68719476736 \(--max-bytes\)"):
        content_hash(sparse)
    patient = Limits(max_bytes=2**50, max_hash_seconds=0.05)
    with pytest.raises(MediaTimeout, match="--max-hash-seconds"):
        content_hash(sparse, patient)
    (tmp_path / "good.mp4").write_bytes(b"good")
    result, _ = run(tmp_path / "out.jsonl", sparse, tmp_path / "good.mp4", limits=patient)
    assert (result.rated, result.failed) == (1, 1)
    assert [r["error_kind"] for r in rows(tmp_path / "out.jsonl")] == ["timed_out", None]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_hashing(clips: Path, sparse: Path, tmp_path: Path, sign: signal.Signals) -> None:
    out = tmp_path / "out.jsonl"
    process = start(
        "score", clips / "c0.mp4", clips / "c1.mp4", clips / "c2.mp4", sparse, "-o", out, "--batch-size", "1",
        "--workers", "2", "--max-bytes", 2**50, sleep=0,
    )  # fmt: skip
    time.sleep(0.2)
    deadline = time.monotonic() + 60
    while process.poll() is None and not (out.exists() and out.with_name("out.jsonl.lock").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1)
    begin = time.monotonic()
    process.send_signal(sign)
    process.wait(60)
    assert time.monotonic() - begin < LATE
    assert process.returncode == 128 + sign
    assert "Traceback" not in process.communicate()[1]
    assert all(json.loads(line)["status"] == "ok" for line in out.read_text().splitlines())


@pytest.mark.parametrize(
    ("command", "sign"), [("rate", signal.SIGTERM), ("rate", signal.SIGINT), ("chat", signal.SIGTERM)]
)
def test_a_signal_ends_a_single_rating(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, sign: signal.Signals
) -> None:
    monkeypatch.setenv("FAKE_RATED", str(tmp_path / "begun"))
    process = start(command, clips / "c1.mp4", sleep=100)
    wait_for_rows(process, tmp_path / "begun", 1)
    begin = time.monotonic()
    process.send_signal(sign)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + sign
    assert time.monotonic() - begin < LATE
    assert "Traceback" not in stderr


def test_what_hangs_is_ended_too(clips: Path, tmp_path: Path) -> None:
    """A clip whose rating does not return to Python does not hold the process."""
    out = tmp_path / "out.jsonl"
    (clips / "c2.mp4").write_bytes(b"HANG")
    process = start("score", clips, "-o", out, sleep=0)
    wait_for_rows(process, out, 2)
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert time.monotonic() - begin < LATE
    process.communicate()
    assert process.returncode == 143
    assert len(rows(out)) == 2


# ---- folders


def test_nothing_in_a_folder_is_passed_over_in_silence(tmp_path: Path) -> None:
    endings = "mp4 vob 3g2 mka aif oga amr m4b tif heic f4v weba ac3 MP4"
    names = [f"x.{e}" for e in endings.split()]
    for name in [*names, "a.txt", "b.txt", "c.srt", "README", ".hidden.mp4"]:
        (tmp_path / name).write_bytes(b"x")
    passed: Counter[str] = Counter()
    assert [i.listed for i in expand([str(tmp_path)], passed_over=passed)] == [str(tmp_path / n) for n in sorted(names)]
    assert passed == {".txt": 2, ".srt": 1, "without ending": 1, "hidden": 1}
    process = start("score", tmp_path, "-o", tmp_path / "out.csv", sleep=0)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "not rated, no media by their ending: 2 .txt, 1 hidden, 1 without ending, 1 .srt\n" in stderr
    assert len(rows(tmp_path / "out.csv")) == len(names)


def test_endings_are_lower_case_and_begin_with_a_dot() -> None:
    assert all(e == e.lower() and e.startswith(".") and len(e) > 1 for e in MEDIA_SUFFIXES)
