"""The same clips, the same scores: whatever else is done at the time.

`python -m tests.abuse same CLIP ...` rates the clips with `nano` one by one, and then again: repeated, in batches, in
another order, with other numbers of threads and of decoding threads, and by the batch command with one worker and two.
Printed is the largest difference of any score.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from mllm_avqa import Rater
from mllm_avqa.media import Limits
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.rating import Rating, RatingFailure

Scores = dict[str, dict[str, float]]  # of a clip, by its name; by aspect


def _scores(ratings: Iterable[Rating | RatingFailure]) -> Scores:
    found: Scores = {}
    for rating in ratings:
        if isinstance(rating, RatingFailure):
            raise rating.error
        found[Path(rating.path).name] = {a: s.score for a, s in rating.scores.items() if s is not None}
    return found


def _batch(clips: list[str], folder: Path, workers: int) -> Scores:
    out = folder / f"{workers}.jsonl"
    command = [sys.executable, "-m", "mllm_avqa", "score", *clips, "-o", str(out), "--workers", str(workers), "--full"]
    subprocess.run([*command, "--fresh"], check=True, capture_output=True, env=os.environ)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    ratings = [Rating.model_validate(row["rating"]) for row in rows if row["status"] == "ok"]
    return _scores(ratings)


def difference(one: Scores, two: Scores) -> float:
    """Largest of any score; infinite where one of them has a score that the other has not."""
    if {(c, a) for c, s in one.items() for a in s} != {(c, a) for c, s in two.items() for a in s}:
        return float("inf")
    return max((abs(one[c][a] - two[c][a]) for c in one for a in one[c]), default=0.0)


def compared(clips: list[str], checkpoint: str = "nano", processes: bool = True) -> dict[str, float]:
    """Largest difference by what was varied."""
    rater, threads = Rater.from_pretrained(checkpoint), torch.get_num_threads()
    first = _scores(rater.rate(c, explain=False) for c in clips)
    again = {"repeated": _scores(rater.rate(c, explain=False) for c in clips)}
    again["explained"] = _scores(rater.rate(c) for c in clips)
    for size in (1, 4):
        again[f"batches of {size}"] = _scores(rater.rate_many(clips, batch_size=size))
    again["backwards"] = _scores(rater.rate_many(clips[::-1], batch_size=4))
    again["each twice"] = _scores(r for r in rater.rate_many([c for c in clips for _ in range(2)], batch_size=3))
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        again[f"{count} threads"] = _scores(rater.rate(c, explain=False) for c in clips)
    torch.set_num_threads(threads)
    rater.close()
    for count in (1, 2, 8):
        with_threads = Rater.from_pretrained(checkpoint, limits=Limits(max_threads=count))
        again[f"{count} decoding threads"] = _scores(with_threads.rate(c, explain=False) for c in clips)
        with_threads.close()
    if processes:
        with TemporaryDirectory() as folder:
            for count in (1, 2):
                again[f"batch command, {count} workers"] = _batch(clips, Path(folder), count)
    return {name: difference(first, scores) for name, scores in again.items()}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse same", description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+")
    try:
        found = compared(parser.parse_args(arguments).clips)
    except AvqaError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1))
    return 0 if not any(found.values()) else 1
