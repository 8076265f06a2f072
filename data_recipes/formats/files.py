"""Files written whole or not at all, and record files of either kind read as a stream."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mllm_avqa.errors import OutputError
from mllm_avqa.records import Record, read_records

PARQUET = ".parquet"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes its place when the block ends well and is removed when it does not.

    Raises OutputError when the place can not be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as e:
        raise OutputError(f"{path} can not be written: {e.strerror or e} (-o)") from e
    finally:
        if part.is_file():
            part.unlink()


def stream(path: str | Path) -> Iterator[Record]:
    """Records of a JSONL file, a Parquet file or a folder of Parquet files, one at a time.

    Raises ConfigError with the place for a file that is missing or a row that is not a record.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == PARQUET:
        from data_recipes.formats.parquet import read_parquet

        return read_parquet(path)
    return read_records(path)


def moved(records: Iterable[Record], source: Path, target: Path, absolute: bool = False) -> Iterator[Record]:
    """The records with `media` seen from another record file.

    source, target: folders of the old and the new file. The paths are relative to `target` unless `absolute`.
    """
    source, target = Path(os.path.abspath(source)), Path(os.path.abspath(target))
    for record in records:
        media = os.path.normpath(source / record.media)
        if not absolute:
            media = record.media if source == target else os.path.relpath(media, target)
        yield record if media == record.media else record.model_copy(update={"media": media})
