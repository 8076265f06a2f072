"""`rate_dataset`: a Ray Data dataset of paths becomes one of rows, rated by actors that hold the model.

Each actor decodes beside its model, as `rate_many` does. Ray starts an actor that died again and gives it its rows once
more; a partition is named by the rows in it and replaced whole, so nothing is lost and nothing stands twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllm_avqa.batch.work import Load, rate_jobs
from mllm_avqa.scale.engine import VllmEngines, through_engine
from mllm_avqa.scale.partitions import Partitions, compact
from mllm_avqa.scale.rows import RowSettings, jobs_of
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data


@dataclass(frozen=True)
class Cluster:
    """Who rates. actors: copies of the model; cpus, gpus: of each; rows: that an actor takes at a time."""

    actors: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    rows: int = 16

    def __post_init__(self) -> None:
        for name, value in (("actors", self.actors), ("rows", self.rows)):
            if value < 1:
                raise ConfigError(f"{name}={value}: must be 1 or more (--workers, --batch-size)")


def rate_dataset(
    source: ray.data.Dataset | str | Path | Sequence[str | Path],
    load: Load,
    *,
    settings: RowSettings | None = None,
    cluster: Cluster | None = None,
    output: Path | None = None,
    engine: VllmEngines | None = None,
) -> ray.data.Dataset:
    """Rows of `score` for the rows of a dataset, of Parquet files, or for paths; computed when they are taken.

    load: opens the rater, in every actor; must be picklable, as `partial(Rater.from_pretrained, "nano", threads=1)`.
    engine: vLLM holds the model, and actors decode before and write behind it; then load is
    `partial(Rater.for_engine, "export/")`.
    output: folder of Parquet partitions. What is in it with the same bytes and fingerprint is not rated again; the
    dataset then holds the new rows alone. Raises ConfigError for a source without clips, and for
    an engine that is not installed.
    """
    import ray.data

    settings, cluster = settings or RowSettings(), cluster or Cluster()
    if output is not None:
        output = output.absolute()
        output.mkdir(parents=True, exist_ok=True)
        compact(output)
    how: dict[str, Any] = {
        "compute": ray.data.ActorPoolStrategy(size=cluster.actors), "num_cpus": cluster.cpus,
        "num_gpus": cluster.gpus, "batch_size": cluster.rows, "batch_format": "pyarrow",
        "fn_constructor_args": (load, settings, output),
    }  # fmt: skip
    if engine is not None:
        return through_engine(_dataset(source, settings), engine, how)
    return _dataset(source, settings).map_batches(_Actor, **how)


def _dataset(source: Any, settings: RowSettings) -> ray.data.Dataset:
    import ray.data

    if isinstance(source, ray.data.Dataset):
        return source
    if isinstance(source, str | Path):
        return ray.data.read_parquet(str(source))
    if not source:
        raise ConfigError("no paths to rate")
    return ray.data.from_items([{settings.columns.path_column: str(path)} for path in source])


class _Actor:
    """Holds a rater; rates a block of rows at a time and writes it down as one partition."""

    def __init__(self, load: Load, settings: RowSettings, output: Path | None) -> None:
        self.rater, self.settings = load(), settings
        self.how = settings.how(self.rater)
        self.partitions = Partitions(output, self.how.fingerprint)

    def __call__(self, block: pa.Table) -> pa.Table:
        jobs = [j for j in jobs_of(block.to_pylist(), self.settings) if not self.partitions.current(j)]
        return self.partitions.put(list(rate_jobs(self.rater, jobs, self.how)), block.schema)
