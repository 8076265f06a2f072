"""Which clips a batch is about: files, directories, globs, or a manifest. Streamed, never held in memory."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllm_avqa.schema.errors import ConfigError

_VIDEO = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".mpg", ".mpeg", ".3gp", ".ogv", ".y4m")
_TRANSPORT = (".ts", ".m2ts", ".mts", ".mxf")
_AUDIO = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".wma", ".aiff")
_IMAGE = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".avif")
MEDIA_SUFFIXES = frozenset(_VIDEO + _TRANSPORT + _AUDIO + _IMAGE)


@dataclass(frozen=True)
class Item:
    """One clip to rate: the name the user wrote, where it lies, and the text given with it."""

    listed: str
    file: Path  # absolute, not resolved: two links to one file are two items
    user_text: str | None = None


def check_inputs(inputs: Sequence[str], manifest: Path | None) -> None:
    """Raises ConfigError for inputs that can not mean anything, before a model is loaded."""
    if not inputs and manifest is None:
        raise ConfigError("nothing to rate: give INPUTS (files, directories, globs) or --manifest FILE")
    for given in inputs:
        if not os.path.lexists(given) and not (glob.has_magic(given) and next(glob.iglob(given, recursive=True), None)):
            what = "matches no file" if glob.has_magic(given) else "does not exist"
            raise ConfigError(f"INPUTS: {given!r} {what}")
        if os.path.isdir(given) and next(_walk(given), None) is None:
            known = " ".join(sorted(MEDIA_SUFFIXES))
            raise ConfigError(f"INPUTS: directory {given!r} holds no file with a known media extension ({known})")
    if manifest is not None and not manifest.is_file():
        raise ConfigError(f"--manifest {manifest}: no such file")


def expand(inputs: Sequence[str], manifest: Path | None = None) -> Iterator[Item]:
    """Items in a stable order: INPUTS as given (directories and globs sorted by name), then the manifest.

    A path of a manifest is relative to the manifest; files named explicitly need no known extension.
    Raises ConfigError with file and line for a manifest that can not be read.
    """
    for given in inputs:
        if os.path.isdir(given):
            names: Iterator[str] = _walk(given)
        elif os.path.lexists(given):  # a file whose name holds [ or * is a file first
            names = iter([given])
        else:
            matches = sorted(glob.glob(given, recursive=True))
            names = (name for m in matches for name in (_walk(m) if os.path.isdir(m) else [m]))
        for name in names:
            yield Item(name, Path(os.path.abspath(name)))
    if manifest is not None:
        base = Path(os.path.abspath(manifest)).parent
        for listed, text in read_manifest(manifest):
            yield Item(listed, Path(os.path.normpath(base / listed)), text)


def read_manifest(manifest: Path) -> Iterator[tuple[str, str | None]]:
    """(path, text) pairs: .csv or .jsonl with a `path` column and an optional `text`; else one path per line."""
    suffix = manifest.suffix.lower()
    try:
        with manifest.open(encoding="utf-8-sig", newline="" if suffix == ".csv" else None) as f:
            if suffix == ".csv":
                yield from _csv_lines(manifest, csv.DictReader(f))
            elif suffix in (".jsonl", ".ndjson"):
                for number, line in enumerate(f, 1):
                    if line.strip():
                        yield _json_line(manifest, number, line)
            else:
                for line in f:
                    if line.strip() and not line.startswith("#"):
                        yield line.strip(), None
    except UnicodeDecodeError as e:
        raise ConfigError(f"--manifest {manifest}: not UTF-8 text ({e.reason} at byte {e.start})") from e
    except csv.Error as e:
        raise ConfigError(f"--manifest {manifest}: not a CSV file: {e}") from e


def _csv_lines(manifest: Path, reader: csv.DictReader[str]) -> Iterator[tuple[str, str | None]]:
    if "path" not in (reader.fieldnames or []):
        raise ConfigError(f"--manifest {manifest}: no column 'path', only {reader.fieldnames or 'an empty file'}")
    for line in reader:
        if not line["path"]:
            raise ConfigError(f"--manifest {manifest}:{reader.line_num}: the path is empty")
        yield line["path"], line.get("text") or None


def _json_line(manifest: Path, number: int, line: str) -> tuple[str, str | None]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as e:
        raise ConfigError(f"--manifest {manifest}:{number}: not JSON: {e.msg} at column {e.colno}") from e
    path, text = (data.get("path"), data.get("text")) if isinstance(data, dict) else (None, None)
    if not isinstance(path, str) or not path:
        raise ConfigError(f"--manifest {manifest}:{number}: no string 'path' in {line.strip()[:80]!r}")
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"--manifest {manifest}:{number}: 'text' must be a string, not {type(text).__name__}")
    return path, text or None


def _walk(directory: str) -> Iterator[str]:
    for folder, below, names in os.walk(directory):
        below.sort()
        below[:] = [b for b in below if not b.startswith(".")]
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in MEDIA_SUFFIXES:
                yield os.path.join(folder, name)
