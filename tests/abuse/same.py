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
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
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


def compared(clips: list[str], checkpoint: str = "nano", processes: bool = True) -> Iterator[tuple[str, float]]:
    """Largest difference by what was varied, each as soon as it is known."""
    threads = torch.get_num_threads()
    with closing(Rater.from_pretrained(checkpoint)) as rater:
        one = partial(rater.rate, explain=False)
        first = _scores(map(one, clips))
        yield "repeated", difference(first, _scores(map(one, clips)))
        yield "explained", difference(first, _scores(map(rater.rate, clips)))
        for size in (1, 4):
            yield f"batches of {size}", difference(first, _scores(rater.rate_many(clips, batch_size=size)))
        yield "backwards", difference(first, _scores(rater.rate_many(clips[::-1], batch_size=4)))
        yield "each twice", difference(first, _scores(rater.rate_many([*clips, *clips], batch_size=3)))
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            yield f"{count} threads", difference(first, _scores(map(one, clips)))
        torch.set_num_threads(threads)
    for count in (1, 2, 8):
        with closing(Rater.from_pretrained(checkpoint, limits=Limits(max_threads=count))) as rater:
            again = _scores(rater.rate(c, explain=False) for c in clips)
            yield f"{count} decoding threads", difference(first, again)
    with TemporaryDirectory() as folder:
        for count in (1, 2) if processes else ():
            yield f"batch command, {count} workers", difference(first, _batch(clips, Path(folder), count))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse same", description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+")
    worst = 0.0
    try:
        for name, value in compared(parser.parse_args(arguments).clips):
            print(f"{name}: {value:.6f}", flush=True)
            worst = max(worst, value)
    except AvqaError as error:
        print(error, file=sys.stderr)
        return 2
    return int(worst > 0)
