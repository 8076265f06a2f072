"""Two actors of a Ray cluster against one, each with its decoder on a core of its own."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.base import Measured, Options, Ratio
from benchmarks.batch import make_clips
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError

ROWS = 4  # of a partition
ACTORS = 2


@dataclass(frozen=True)
class PinnedLoad:
    """Opens a rater on the first core that no other actor has taken; what it starts stays on that core."""

    checkpoint: str
    cores: tuple[int, ...]
    taken: Path

    def __call__(self) -> Rater:
        for core in self.cores:
            try:
                os.close(os.open(self.taken / str(core), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            for task in os.listdir("/proc/self/task"):  # threads that Ray has begun already
                os.sched_setaffinity(int(task), {core})
            break
        return Rater.from_pretrained(self.checkpoint, threads=1)


def run(settings: Options) -> Measured:
    import ray

    cores = sorted(os.sched_getaffinity(0))[:ACTORS]
    if len(cores) < ACTORS:
        raise ConfigError(f"{len(cores)} core: {ACTORS} actors need one each")
    with tempfile.TemporaryDirectory() as folder:
        files = make_clips(settings.clip, Path(folder))
        ray.init(num_cpus=ACTORS + 2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        try:
            found = {n: _speed(settings, files, Path(folder) / str(n), cores[:n]) for n in (1, ACTORS)}
        finally:
            ray.shutdown()
    row = Ratio(f"clips/s, {ACTORS} actors / 1 actor", f"{found[ACTORS]:.2f}/s", f"{found[1]:.2f}/s",
                found[ACTORS] / found[1], ">= 1.8")  # fmt: skip
    notes = [
        f"{len(files)} files (4 s, 360p), `rate_dataset` to Parquet, {ROWS} clips a partition; an actor, its model of "
        "one thread and its decoder share one core, so that the second actor brings a core and no more.",
        "Timed from the first partition of the last actor to the last partition: starting actors is left out.",
    ]
    return Measured("Cluster", [row], notes)


def _speed(settings: Options, files: list[Path], folder: Path, cores: list[int]) -> float:
    """Clips a second once all actors work."""
    from mllm_avqa.scale import Cluster, rate_dataset

    out, taken = folder / "out", folder / "taken"
    taken.mkdir(parents=True)
    load = PinnedLoad(settings.checkpoint, tuple(cores), taken)
    cluster = Cluster(actors=len(cores), cpus=1, rows=ROWS)
    rate_dataset(files, load, cluster=cluster, output=out).materialize()
    times = sorted(p.stat().st_mtime for p in out.glob("part-*.parquet"))
    first = len(cores)  # a partition of each actor
    return ROWS * (len(times) - first) / (times[-1] - times[first - 1])
