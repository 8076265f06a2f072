"""Records in other people's formats: Parquet and `datasets`, LLaVA conversations, ms-swift messages.

Here: files written whole or not at all, and record files of either kind read as a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.records import Record, read_records

PARQUET = ".parquet"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`whole_file` for the output of a command: raises OutputError when the place can not be written."""
    try:
        with whole_file(path) as part:
            yield part
    except OSError as e:
        raise OutputError(f"{path} can not be written: {e.strerror or e} (-o)") from e


def stream(path: str | Path) -> Iterator[Record]:
    """Records of a JSONL file, a Parquet file or a folder of Parquet files, one at a time.

    Raises ConfigError with the place for a file that is missing or a row that is not a record.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == PARQUET:
        from data_recipes.formats.parquet import read_parquet

        return read_parquet(path)
    return read_records(path)
