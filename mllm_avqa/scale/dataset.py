"""`rate_dataset`: a Ray Data dataset of paths becomes one of rows, rated by actors that hold the model.

Each actor decodes beside its model, as `rate_many` does. Ray starts an actor that died again and gives it its rows once
more; a partition is named by the rows in it and replaced whole, so nothing is lost and nothing stands twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllm_avqa.batch.journal import Cells
from mllm_avqa.batch.outputs import parquet_schema
from mllm_avqa.batch.rows import COLUMNS
from mllm_avqa.batch.work import Job, Load, rate_jobs
from mllm_avqa.scale.rows import RowSettings, jobs_of
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.plain import json_text, plain

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

IDENTITY = ("file", "user_text", "id", "start", "end", "repeat")  # of a row, whatever the bytes of its file


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
) -> ray.data.Dataset:
    """Rows of `score` for the rows of a dataset, of Parquet files, or for paths; computed when they are taken.

    load: opens the rater, in every actor; must be picklable, as `partial(Rater.from_pretrained, "nano", threads=1)`.
    output: folder of Parquet partitions. What is in it with the same bytes and fingerprint is not rated again; the
    dataset then holds the new rows alone. Raises ConfigError for a source without clips.
    """
    import ray.data

    settings, cluster = settings or RowSettings(), cluster or Cluster()
    if output is not None:
        output = output.absolute()
        output.mkdir(parents=True, exist_ok=True)
        compact(output)
    return _dataset(source, settings).map_batches(
        _Actor,
        fn_constructor_args=(load, settings, output),
        compute=ray.data.ActorPoolStrategy(size=cluster.actors),
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus,
        batch_size=cluster.rows,
        batch_format="pyarrow",
    )


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
        self.rater, self.settings, self.output = load(), settings, output
        self.how = settings.how(self.rater)
        self.done = {_version(r) for r in _rated(output)} if output is not None else set()

    def __call__(self, block: pa.Table) -> pa.Table:
        jobs = [j for j in jobs_of(block.to_pylist(), self.settings) if not self._current(j)]
        table = _table(list(rate_jobs(self.rater, jobs, self.how)), block.schema)
        if self.output is not None and len(table):
            import pyarrow.parquet as pq

            name = hashlib.sha256(b"".join(map(_version, table.select(_TOLD).to_pylist()))).hexdigest()[:24]
            with whole_file(self.output / f"part-{name}.parquet") as part:
                pq.write_table(table, part)
        return table

    def _current(self, job: Job) -> bool:
        item = job.item
        told = {n: getattr(item, n) for n in IDENTITY} | {"file": plain(item.file)}
        return _version({**told, "content_hash": job.content_hash, "fingerprint": self.how.fingerprint}) in self.done


_TOLD = [*IDENTITY, "content_hash", "fingerprint"]


def _version(row: Cells) -> bytes:
    return _digest(row, _TOLD)


def _digest(row: Cells, names: Iterable[str]) -> bytes:
    return hashlib.blake2b(repr([row[n] for n in names]).encode(), digest_size=16).digest()


def _table(rows: list[Cells], given: pa.Schema) -> pa.Table:
    """Rows with the columns of `score`, then the user's with the types they came with, and the rating if it is told."""
    import pyarrow as pa

    own = parquet_schema()
    told = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    for name in told:
        source = name if name in given.names else name.split("_", 1)[-1]
        own = own.append(pa.field(name, given.field(source).type if source in given.names else pa.string()))
    nested = [{n: json_text(v) if n == "rating" and v is not None else v for n, v in row.items()} for row in rows]
    return pa.Table.from_pylist(nested, schema=own)


# ---- a folder of partitions -----------------------------------------------------------------------------------------


def _partitions(output: Path) -> list[Path]:
    """The older ones first."""
    return sorted(output.glob("part-*.parquet"), key=lambda p: (p.stat().st_mtime_ns, p.name))


def _rated(output: Path) -> Iterator[Cells]:
    import pyarrow.parquet as pq

    for path in _partitions(output):
        for row in pq.read_table(path, columns=[*_TOLD, "status"]).to_pylist():
            if row["status"] == "ok":
                yield row


def compact(output: Path) -> int:
    """Leave out of a folder's partitions what a newer row replaces; returns how many rows that were.

    An error row goes too: its clip is rated again.
    """
    import pyarrow.parquet as pq

    newest: dict[bytes, Path] = {}
    paths = _partitions(output)
    for path in paths:
        for row in pq.read_table(path, columns=list(IDENTITY)).to_pylist():
            newest[_digest(row, IDENTITY)] = path
    dropped = 0
    for path in paths:
        table = pq.read_table(path)
        rows = table.select([*IDENTITY, "status"]).to_pylist()
        keep = [r["status"] == "ok" and newest[_digest(r, IDENTITY)] == path for r in rows]
        dropped += keep.count(False)
        if not any(keep):
            os.unlink(path)
        elif not all(keep):
            with whole_file(path) as part:
                pq.write_table(table.filter(keep), part)
    return dropped
