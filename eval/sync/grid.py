"""Clips with their sound moved over a grid of offsets, made while they are read: nothing is encoded again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mllm_avqa.schema.clip import AudioTrack

if TYPE_CHECKING:
    from mllm_avqa.media import Clip, Cue, DecodeSpec, MediaInfo, MediaReader

GRID = (-1000, -700, -500, -350, -250, -180, -125, -90, -45, 45, 90, 125, 185, 250, 350, 500, 700, 1000)  # ms, late > 0


def shifted(track: AudioTrack, milliseconds: float) -> AudioTrack:
    """Sound that comes later by so much (earlier if negative), zeros where nothing is known; same length and start.

    Samples are moved, as data_recipes does, not time stamps. The zeros at one end are as long as the offset.
    """
    n = track.samples.shape[1]
    by = int(np.clip(round(milliseconds / 1000 * track.rate), -n, n))
    out = np.zeros_like(track.samples)
    out[:, max(by, 0) : n + min(by, 0)] = track.samples[:, max(-by, 0) : n - max(by, 0)]
    return replace(track, samples=out)


class ShiftedReader:
    """A reader whose clips have their sound moved; everything else is the given reader's."""

    def __init__(self, reader: MediaReader, milliseconds: float) -> None:
        self.reader, self.milliseconds = reader, milliseconds

    def probe(self, path: str) -> MediaInfo:
        return self.reader.probe(path)

    def read_subtitles(self, path: str) -> list[Cue]:
        return self.reader.read_subtitles(path)

    def read_clip(self, path: str, spec: DecodeSpec) -> Clip:
        clip = self.reader.read_clip(path, spec)
        return clip if clip.audio is None else replace(clip, audio=shifted(clip.audio, self.milliseconds))
