"""Readers: what turns a file into stream facts and decoded windows. They run inside the guarded process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mllm_avqa.schema.clip import Clip, DecodeSpec, Limits, MediaInfo
from mllm_avqa.schema.cues import Cue
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.whole import Scan


class Reader(Protocol):
    """One decoding library. All methods raise `MediaError` subclasses; paths are absolute."""

    def probe(self, path: str, limits: Limits) -> MediaInfo: ...

    def read_clip(self, path: str, spec: DecodeSpec, limits: Limits) -> Clip: ...

    def read_subtitles(self, path: str, limits: Limits) -> list[Cue]: ...

    def scan(self, path: str, limits: Limits) -> Scan: ...


def _pyav() -> Reader:
    from mllm_avqa.media.readers.pyav_reader import PyAVReader

    return PyAVReader()


def _decord() -> Reader:
    from mllm_avqa.media.readers.decord_reader import DecordReader

    return DecordReader()


READERS: dict[str, Callable[[], Reader]] = {"pyav": _pyav, "decord": _decord}


def check_reader(name: str) -> str:
    """`name`, if it is a known reader.

    Raises:
        ConfigError: it is not.
    """
    if name not in READERS:
        raise ConfigError(f"unknown reader {name!r}; allowed: {', '.join(sorted(READERS))} (--reader)")
    return name


def get_reader(name: str) -> Reader:
    """The reader called `name`.

    Raises:
        ConfigError: unknown name, or its library is not installed.
    """
    return READERS[check_reader(name)]()
