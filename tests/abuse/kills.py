"""SIGKILL at random moments of a batch: parent, child or both, with every format, with one worker and with two.

After the last kill the same command runs to its end. Counted then: files without a row (lost), with more than one
(doubled), and rows that were in the journal when a kill came and were rated again all the same (redone).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

BATCH = Path(__file__).parents[1] / "batch"
CLIPS = 14
KINDS = ("jsonl", "csv", "parquet")
TARGETS = ("parent", "child", "both")


@dataclass
class Result:
    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    redone: int = 0
    failed: list[str] = field(default_factory=list)  # last runs that did not end well

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.redone or self.failed)

    def __str__(self) -> str:
        kills = ", ".join(f"{k} {n}" for k, n in sorted(self.kills.items()))
        return (
            f"{self.runs} runs, kills: {kills}; rows lost {self.lost}, doubled {self.doubled}, rated again "
            f"{self.redone}; last runs that failed {len(self.failed)}"
        )


def kill_runs(runs: int, seed: int = 0, sleep: float = 0.05) -> Result:
    """sleep: seconds a clip takes."""
    result, rng = Result(), random.Random(seed)
    for n in range(runs):
        with TemporaryDirectory() as folder:
            _one_run(Path(folder), KINDS[n % len(KINDS)], 1 + n % 2, rng, sleep, result)
        result.runs += 1
    return result


def _one_run(folder: Path, kind: str, workers: int, rng: random.Random, sleep: float, result: Result) -> None:
    clips = folder / "clips"
    clips.mkdir()
    for i in range(CLIPS):
        (clips / f"c{i:02}.mp4").write_bytes(b"clip %d" % rng.randrange(10**9))
    out, rated = folder / f"out.{kind}", folder / "rated.txt"
    journal = out if kind == "jsonl" else out.with_name(out.name + ".journal")
    command = ["score", str(clips), "-o", str(out), "--workers", str(workers), "--batch-size", "2"]
    for _ in range(rng.randint(1, 3)):
        process = _start(command, rated, sleep)
        _wait_for_a_row(process, journal)
        time.sleep(rng.uniform(0, sleep * CLIPS))
        target = rng.choice(TARGETS)
        result.kills[target] += _kill(process, target)
        if target == "child":
            process.wait(120)  # it goes on with another worker, or is over
        process.wait(120)
        kept = {r["file"] for r in _rows(journal) if r["status"] == "ok"} if journal.exists() else set()
        rated.unlink(missing_ok=True)
        if not journal.exists() and out.exists():
            kept = {r["file"] for r in _rows(out)}
    last = _start(command, rated, 0)
    _, stderr = last.communicate(timeout=120)
    if last.returncode != 0:
        result.failed.append(stderr)
        return
    again = set(rated.read_text().splitlines()) if rated.exists() else set()
    found = Counter(r["file"] for r in _rows(out))
    result.lost += sum(str(c) not in found for c in clips.iterdir())
    result.doubled += sum(n - 1 for n in found.values())
    result.redone += len(again & kept)


def _start(command: list[str], rated: Path, sleep: float) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(BATCH), str(BATCH.parents[1])])
    env = {**os.environ, "PYTHONPATH": paths, "FAKE_SLEEP": str(sleep), "FAKE_RATED": str(rated)}
    return subprocess.Popen(
        [sys.executable, str(BATCH / "run_fake.py"), *command], env=env, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def _wait_for_a_row(process: subprocess.Popen[str], journal: Path) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and b"\n" in journal.read_bytes():
            return
        time.sleep(0.005)


def _kill(process: subprocess.Popen[str], target: str) -> int:
    """Number of processes that were hit."""
    children = _children(process.pid)
    pids = {"parent": [process.pid], "child": children[:1], "both": [*children[:1], process.pid]}[target]
    hit = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            hit += 1
        except ProcessLookupError:
            continue  # it was done before
    return hit


def _children(pid: int) -> list[int]:
    """Worker processes; the resource tracker of multiprocessing is none."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if Path(f"/proc/{pid}").exists() else ():
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in words:
            found.append(int(child))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".csv":
        with path.open(newline="") as f:
            return list(csv.DictReader(f))
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path, columns=["file", "status"]).to_pylist()
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse kills", description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    result = kill_runs(options.runs, options.seed)
    print(result)
    for stderr in result.failed:
        print(stderr, file=sys.stderr)
    return 0 if result.good else 1
