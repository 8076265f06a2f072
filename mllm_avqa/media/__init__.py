"""The media room: a path goes in, stream facts or one decoded window come out, or one `MediaError` subclass."""

from __future__ import annotations

import os
from typing import cast

from mllm_avqa.media.guard import MediaReader, default_reader
from mllm_avqa.media.opening import content_hash
from mllm_avqa.media.readers import READERS
from mllm_avqa.schema.clip import AudioInfo, AudioTrack, Clip, DecodeSpec, Limits, MediaInfo, VideoInfo, VideoTrack
from mllm_avqa.schema.cues import Cue

__all__ = [
    "READERS",
    "AudioInfo",
    "AudioTrack",
    "Clip",
    "Cue",
    "DecodeSpec",
    "Limits",
    "MediaInfo",
    "MediaReader",
    "VideoInfo",
    "VideoTrack",
    "content_hash",
    "probe",
    "read_clip",
    "read_subtitles",
]

Path = str | os.PathLike[str]


def probe(path: Path, *, reader: str = "pyav", limits: Limits = Limits()) -> MediaInfo:
    """Stream facts of `path`, with at most one frame of each stream decoded.

    Raises:
        MediaError: one of its subclasses says what is wrong with the file.
        ConfigError: unknown or missing reader.
    """
    return cast(MediaInfo, default_reader().request("probe", path, reader=reader, limits=limits))


def read_clip(
    path: Path,
    spec: DecodeSpec = DecodeSpec(),
    *,
    reader: str = "pyav",
    limits: Limits = Limits(),
) -> Clip:
    """Decodes the window `spec` of `path`: thumbnails of every frame, native frames of each segment, the sound.

    Raises:
        MediaError: one of its subclasses says what is wrong with the file; `NoUsableStream` if the window is empty.
        ConfigError: unknown or missing reader, impossible `spec`.
    """
    return cast(Clip, default_reader().request("read_clip", path, spec, reader=reader, limits=limits))


def read_subtitles(path: Path, *, reader: str = "pyav", limits: Limits = Limits()) -> list[Cue]:
    """Cues of the embedded text subtitle streams of `path`, sorted by start; empty if it has none.

    Raises:
        MediaError: one of its subclasses says what is wrong with the file.
        ConfigError: unknown or missing reader.
    """
    return cast(list[Cue], default_reader().request("read_subtitles", path, reader=reader, limits=limits))
