"""Records in other people's formats: Parquet and `datasets`, LLaVA conversations, ms-swift messages.

Here: one record file in, one file of any format out; rows pass through one at a time. The formats have their own files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_recipes.formats.files import PARQUET, replacing
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record, read_records, relocation, write_records

if TYPE_CHECKING:
    from data_recipes.formats.peers import Choice, Exported, Holds

SUFFIXES = {
    "parquet": (".parquet",),
    "jsonl": (".jsonl",),
    "llava": (".json", ".jsonl"),
    "ms-swift": (".jsonl",),
}


def stream(path: str | Path) -> Iterator[Record]:
    """Records of a JSONL file, a Parquet file or a folder of Parquet files, one at a time.

    Raises ConfigError with the place for a file that is missing or a row that is not a record.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == PARQUET:
        from data_recipes.formats.parquet import read_parquet

        return read_parquet(path)
    return read_records(path)


def convert(source: Path, out: Path, form: str | None = None, split: str | None = None, absolute: bool = False) -> int:
    """Write records as records: Parquet or JSONL, by `form` or else by the name of `out`. Returns their number.

    Media paths are made relative to `out`, or absolute. Raises ConfigError for a bad input or name, OutputError.
    """
    form = form or out.suffix.lstrip(".")
    check_name(out, form)
    place = relocation(_folder(source), out.parent, absolute)
    records = (r.model_copy(update={"media": place(r.media)}) for r in _of_split(stream(source), split))
    if form == "parquet":
        from data_recipes.formats.parquet import write_parquet

        return write_parquet(out, records)
    return write_records(out, records)


def export_questions(
    source: Path,
    out: Path,
    form: str,
    choice: Choice | None = None,
    split: str | None = None,
    absolute: bool = False,
    open_media: bool = True,
) -> Exported:
    """Write the questions of records for a peer's trainer, one row each.

    open_media: look into every file for picture, sound and length; otherwise names and labels decide.
    Raises ConfigError for a bad input or name and when no row would be written, OutputError.
    """
    from data_recipes.formats.peers import Choice, Exported, by_name, by_opening, rows
    from mllm_avqa.media import MediaReader

    check_name(out, form)
    base, outcome = Path(os.path.abspath(_folder(source))), Exported()
    place = relocation(base, out.parent, absolute)
    with MediaReader() as reader:
        opened = by_opening(reader)
        look: Callable[[Record], Holds] = (lambda r: opened(str(base / r.media))) if open_media else by_name
        pairs = ((r, place(r.media)) for r in _of_split(stream(source), split))
        with replacing(out) as part:
            _write(part, rows(pairs, form, choice or Choice(), look, outcome), as_array=out.suffix == ".json")
            if not outcome.rows and not outcome.failures:
                told = "; ".join(f"{n} {why}" for why, n in outcome.left_out.items()) or "there are no records"
                raise ConfigError(f"{source}: nothing to write to {out}: {told}")
    return outcome


def check_name(out: Path, form: str) -> None:
    """Raises ConfigError for an unknown format or a file name that does not fit it."""
    if form not in SUFFIXES:
        raise ConfigError(f"format {form!r} is not one of {', '.join(SUFFIXES)} (--format)")
    if out.suffix not in SUFFIXES[form]:
        raise ConfigError(f"{out}: a file of format {form} is called *{' or *'.join(SUFFIXES[form])} (-o)")


def _folder(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _of_split(records: Iterable[Record], split: str | None) -> Iterator[Record]:
    return (r for r in records if split is None or r.split == split)


def _write(path: Path, items: Iterable[dict[str, Any]], as_array: bool) -> None:
    """JSON lines, or an array with a line per item."""
    before, between, after = ("[\n", ",\n", "\n]\n") if as_array else ("", "\n", "\n")
    with path.open("w", encoding="utf-8") as f:
        f.write(before)
        for n, item in enumerate(items):
            f.write((between if n else "") + json.dumps(item, ensure_ascii=False))
        f.write(after)
