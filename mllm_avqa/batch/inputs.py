"""Which clips a batch is about: files, directories, globs, or a manifest. Streamed, never held in memory."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from mllm_avqa.batch.manifests import Item, ManifestColumns, read_manifest
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.plain import refused_url

_VIDEO = """3g2 3gp amv asf avi divx dv f4v flv gxf h261 h263 h264 264 h265 265 hevc ivf m1v m2v m4v mjpeg mjpg mkv mov
    mp4 mpe mpeg mpg mpv mxf nut obu ogm ogv ogx qt rm rmvb roq vob webm wmv wtv y4m"""
_TRANSPORT = "m2t m2ts mts trp ts"
_AUDIO = """aac ac3 adts aif aifc aiff amr ape au awb caf dts eac3 f4a flac gsm m4a m4b m4r mka mlp mp2 mp3 mpa mpc mpga
    oga ogg opus ra spx tak thd tta voc w64 wav weba wma wv"""
_IMAGE = """apng avif bmp dib gif heic heif j2k jfif jp2 jpe jpeg jpg jxl pbm pcx pgm png pnm ppm psd qoi sgi tga tif
    tiff webp xbm"""
MEDIA_SUFFIXES = frozenset(f".{e}" for e in f"{_VIDEO} {_TRANSPORT} {_AUDIO} {_IMAGE}".split())


def listed(inputs: Sequence[str], stream: TextIO) -> list[str]:
    """INPUTS, with the lines of a stream in place of `-`."""
    return [name for given in inputs for name in (stream.read().splitlines() if given == "-" else [given]) if name]


Shard = tuple[int, int]  # which, from 1 on, of how many


def read_shard(text: str) -> Shard:
    """Raises ConfigError for anything but K/N."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    k, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= k <= n:
        raise ConfigError(f"--shard {text}: must be K/N, the part K of N equal ones, as 3/16")
    return k, n


def in_shard(content: str, shard: Shard) -> bool:
    """Whether a clip is a shard's: by its bytes, so that names, lists and their order do not matter."""
    digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % shard[1] == shard[0] - 1


def check_inputs(inputs: Sequence[str], manifest: Path | None) -> None:
    """Raises ConfigError for inputs that can not mean anything, before a model is loaded."""
    if not inputs and manifest is None:
        raise ConfigError("nothing to rate: give INPUTS (files, directories, globs) or --manifest FILE")
    for given in inputs:
        if not os.path.lexists(given) and not (glob.has_magic(given) and next(glob.iglob(given, recursive=True), None)):
            if refused := refused_url(given):
                raise ConfigError(f"INPUTS: {refused}")
            what = "matches no file" if glob.has_magic(given) else "does not exist"
            raise ConfigError(f"INPUTS: {given!r} {what}")
        if os.path.isdir(given) and next(_walk(given), None) is None:
            known = " ".join(sorted(MEDIA_SUFFIXES))
            raise ConfigError(f"INPUTS: directory {given!r} holds no file with a known media extension ({known})")
    if manifest is not None and not manifest.is_file():
        raise ConfigError(f"--manifest {manifest}: no such file")


def expand(
    inputs: Sequence[str],
    manifest: Path | None = None,
    passed_over: Counter[str] | None = None,
    columns: ManifestColumns | None = None,
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
        yield from read_manifest(manifest, columns or ManifestColumns())


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
