"""Which clips a batch is about: files, directories, globs, or a manifest. Streamed, never held in memory."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mllm_avqa.batch.rows import LONGEST
from mllm_avqa.schema.errors import AvqaError, ConfigError
from mllm_avqa.schema.plain import plain

_VIDEO = """3g2 3gp amv asf avi divx dv f4v flv gxf h261 h263 h264 264 h265 265 hevc ivf m1v m2v m4v mjpeg mjpg mkv mov
    mp4 mpe mpeg mpg mpv mxf nut obu ogm ogv ogx qt rm rmvb roq vob webm wmv wtv y4m"""
_TRANSPORT = "m2t m2ts mts trp ts"
_AUDIO = """aac ac3 adts aif aifc aiff amr ape au awb caf dts eac3 f4a flac gsm m4a m4b m4r mka mlp mp2 mp3 mpa mpc mpga
    oga ogg opus ra spx tak thd tta voc w64 wav weba wma wv"""
_IMAGE = """apng avif bmp dib gif heic heif j2k jfif jp2 jpe jpeg jpg jxl pbm pcx pgm png pnm ppm psd qoi sgi tga tif
    tiff webp xbm"""
MEDIA_SUFFIXES = frozenset(f".{e}" for e in f"{_VIDEO} {_TRANSPORT} {_AUDIO} {_IMAGE}".split())
LONGEST_LINE = 4_000_000  # bytes of one line of a manifest
LONGEST_TEXT = LONGEST  # characters of the text given with a clip


@dataclass(frozen=True)
class Item:
    """One clip to rate: the name the user wrote, where it lies, and the text given with it."""

    listed: str
    file: Path  # absolute, not resolved: two links to one file are two items
    user_text: str | None = None
    error: AvqaError | None = None  # what is wrong with the line of the manifest


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


def expand(
    inputs: Sequence[str], manifest: Path | None = None, passed_over: Counter[str] | None = None
) -> Iterator[Item]:
    """Items in a stable order: INPUTS as given (directories and globs sorted by name), then the manifest.

    A path of a manifest is relative to the manifest; files named explicitly need no known extension. passed_over:
    counts the files of directories that are not rated, by their ending. Raises ConfigError with file and line for a
    manifest that can not be read.
    """
    for given in inputs:
        if os.path.isdir(given):
            names: Iterator[str] = _walk(given, passed_over)
        elif os.path.lexists(given):  # a file whose name holds [ or * is a file first
            names = iter([given])
        else:
            matches = sorted(glob.glob(given, recursive=True))
            names = (name for m in matches for name in (_walk(m, passed_over) if os.path.isdir(m) else [m]))
        for name in names:
            yield Item(name, Path(os.path.abspath(name)))
    if manifest is not None:
        yield from read_manifest(manifest)


def read_manifest(manifest: Path) -> Iterator[Item]:
    """Clips of a .csv or .jsonl with a `path` column and an optional `text`, or of one path per line.

    A line that can be told apart but not rated (too long, nested too deep) is an item with an error.
    """
    base = Path(os.path.abspath(manifest)).parent
    suffix = manifest.suffix.lower()
    try:
        with manifest.open("rb") as f:
            for number, path, text in _csv_pairs(manifest, f) if suffix == ".csv" else _line_pairs(manifest, f):
                where = f"{manifest}:{number}"
                if isinstance(path, AvqaError):
                    name = f"{manifest.name}:{number}"
                    yield Item(name, base / name, None, path)
                elif text is not None and len(text) > LONGEST_TEXT:
                    error = ConfigError(f"{where}: the text has {len(text)} characters, at most {LONGEST_TEXT}")
                    yield Item(path, _beside(base, path), plain(text[:100]), error)
                else:
                    yield Item(path, _beside(base, path), plain(text) if text else None)
    except OSError as e:
        raise ConfigError(f"--manifest {manifest}: can not be read: {e.strerror}") from e


Pair = tuple[int, str | AvqaError, str | None]  # number of the line, its path or what is wrong with it, its text


def _beside(base: Path, path: str) -> Path:
    return Path(os.path.normpath(base / path))


def _lines(manifest: Path, f: BinaryIO) -> Iterator[tuple[int, str | AvqaError]]:
    """Decoded lines and their numbers; of a line without end no more than `LONGEST_LINE` bytes are held."""
    for number, line in enumerate(iter(lambda: f.readline(LONGEST_LINE), b""), 1):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (more := f.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
                pass
            yield number, ConfigError(f"{manifest}:{number}: longer than {LONGEST_LINE} bytes")
            continue
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as e:
            at = f"{e.reason} at byte {e.start} of the line"
            raise ConfigError(f"--manifest {manifest}:{number}: not UTF-8 text ({at})") from e


def _line_pairs(manifest: Path, f: BinaryIO) -> Iterator[Pair]:
    as_json = manifest.suffix.lower() in (".jsonl", ".ndjson")
    for number, line in _lines(manifest, f):
        if isinstance(line, AvqaError):
            yield number, line, None
        elif not line.strip():
            continue
        elif as_json:
            yield number, *_json_pair(manifest, number, line)
        elif not line.startswith("#"):
            yield number, line.strip(), None


def _csv_pairs(manifest: Path, f: BinaryIO) -> Iterator[Pair]:
    def whole(lines: Iterator[tuple[int, str | AvqaError]]) -> Iterator[str]:
        for _, line in lines:
            if isinstance(line, AvqaError):
                raise ConfigError(f"--manifest {line}")
            yield line

    csv.field_size_limit(LONGEST_LINE)  # a process has one: ours is the larger
    try:
        reader = csv.DictReader(whole(_lines(manifest, f)))
        if "path" not in (reader.fieldnames or []):
            raise ConfigError(f"--manifest {manifest}: no column 'path', only {reader.fieldnames or 'an empty file'}")
        for line in reader:
            if not line["path"]:
                raise ConfigError(f"--manifest {manifest}:{reader.line_num}: the path is empty")
            yield reader.line_num, line["path"], line.get("text")
    except csv.Error as e:
        raise ConfigError(f"--manifest {manifest}: not a CSV file: {e}") from e


def _json_pair(manifest: Path, number: int, line: str) -> tuple[str | AvqaError, str | None]:
    where = f"--manifest {manifest}:{number}"
    try:
        data = json.loads(line, parse_int=_number)
    except json.JSONDecodeError as e:
        raise ConfigError(f"{where}: not JSON: {e.msg} at column {e.colno}") from e
    except RecursionError:
        return ConfigError(f"{manifest}:{number}: nested too deep"), None
    path, text = (data.get("path"), data.get("text")) if isinstance(data, dict) else (None, None)
    if not isinstance(path, str) or not path:
        raise ConfigError(f"{where}: no string 'path' in {line.strip()[:80]!r}")
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"{where}: 'text' must be a string, not {type(text).__name__}")
    return path, text


def _number(digits: str) -> int | float:
    """int() refuses thousands of digits; no number of a manifest is used."""
    return int(digits) if len(digits) < 1000 else float(digits)


def _walk(directory: str, passed_over: Counter[str] | None = None) -> Iterator[str]:
    for folder, below, names in os.walk(directory):
        below.sort()
        hidden = [b for b in below if b.startswith(".")]
        below[:] = [b for b in below if not b.startswith(".")]
        if passed_over is not None and hidden:
            passed_over["hidden folder"] += len(hidden)
        for name in sorted(names):
            ending = os.path.splitext(name)[1].lower()
            if not name.startswith(".") and ending in MEDIA_SUFFIXES:
                yield os.path.join(folder, name)
            elif passed_over is not None:
                passed_over["hidden" if name.startswith(".") else ending or "without ending"] += 1
