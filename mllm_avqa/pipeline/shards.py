"""One list of clips on many machines: the rows of all shards as one output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from mllm_avqa.batch.journal import row_key
from mllm_avqa.batch.manifests import ManifestColumns, numbered, read_manifest
from mllm_avqa.batch.outputs import check_output, open_rows
from mllm_avqa.pipeline.labels import scored
from mllm_avqa.schema.errors import ConfigError, OutputError


def merge(shards: Sequence[Path], output: Path) -> int:
    """Write the rows of all shards, each clip once and a rated one before one that failed; returns their number.

    Raises OutputError for shards of different raters, ConfigError for one that is not there.
    """
    check_output(output)
    for shard in shards:
        if not shard.is_file():
            raise ConfigError(f"SHARDS: {shard}: no such file")
        if output.exists() and shard.samefile(output):
            raise ConfigError(f"SHARDS: {shard} is the output itself (-o)")
    fingerprint = _one_fingerprint(shards)
    done: set[int] = set()
    with open_rows(output, fingerprint, fresh=True) as rows:
        for status in ("ok", "error"):
            for cells in chain.from_iterable(map(scored, shards)):
                key = hash(row_key(cells))
                if cells["status"] == status and key not in done:
                    done.add(key)
                    rows.append(cells)
    return len(done)


def _one_fingerprint(shards: Sequence[Path]) -> str:
    found: dict[str, Path] = {}
    for shard in shards:
        for cells in scored(shard):
            found.setdefault(cells["fingerprint"], shard)
    if len(found) > 1:
        (one, a), (other, b) = list(found.items())[:2]
        differing = " and ".join(sorted(set(one.split()) ^ set(other.split())))
        raise OutputError(f"rows of {a} and {b} are not comparable: they differ in {differing}")
    if not found:
        raise OutputError("SHARDS: there is no row in any of them")
    return next(iter(found))


def missing(output: Path, manifest: Path, columns: ManifestColumns) -> list[str]:
    """Lines of a manifest without a row in an output."""
    there = {hash(row_key(cells)) for cells in scored(output)}
    lines = numbered(read_manifest(manifest, columns))
    return [i.listed if i.id is None else f"{i.listed} ({i.id})" for i in lines if i and hash(i.key) not in there]
