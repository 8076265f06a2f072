"""What leaves the media room: stream facts, decoded frames and sound of one window of a file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """What decoding an untrusted file may cost. Exceeding one raises `MediaTooLarge` or `MediaTimeout`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_seconds: float = 60.0  # wall time of one request to the guarded process (--max-seconds)
    max_pixels: int = 8192 * 4320  # width x height of one frame (--max-pixels)
    max_memory_mb: int = 4096  # address space of the guarded process above its start (--max-memory-mb)
    max_duration: float = 6 * 3600.0  # seconds of media (--max-duration)
    max_bytes: int = 64 * 2**30  # of a file (--max-bytes)
    max_hash_seconds: float = 300.0  # for reading a file's bytes once (--max-hash-seconds)
    max_sidecars: int = Field(default=16, ge=0)  # subtitle files beside it (--max-sidecars)
    max_sidecar_bytes: int = Field(default=2 * 2**20, ge=0)  # of them in all (--max-sidecar-bytes)
    max_pass_seconds: float = 3600.0  # wall time of the pass over a whole file, which then ends early
    max_frames: int = Field(default=50_000, ge=1)  # of an animation: GIF, APNG, WebP (--max-frames)
    max_frame_bytes: int = Field(default=512 * 2**20, ge=2**20)  # of a window's pictures, else scaled down
    max_threads: int = Field(default=4, ge=1)  # of one decoder, within the cores; more cost memory and save no time


Span = tuple[float, float | None]  # seconds of a file, from .. to; None: its end
WHOLE: Span = (0.0, None)


class VideoInfo(BaseModel):
    """Facts of the video stream, from the container; sizes are after rotation."""

    model_config = ConfigDict(extra="forbid")

    codec: str
    width: int
    height: int
    rotation: int = 0  # degrees the file asks for, already applied to width and height
    fps: float | None = None  # average; None for a still image
    pixel_format: str
    bit_depth: int = 8
    bitrate: int | None = None  # bit/s
    start: float = 0.0  # seconds of the first frame
    duration: float | None = None
    color_transfer: str | None = None  # "smpte2084" for PQ, "arib-std-b67" for HLG
    interlaced: bool = False
    still: bool = False


class AudioInfo(BaseModel):
    """Facts of the audio stream, from the container."""

    model_config = ConfigDict(extra="forbid")

    codec: str
    sample_rate: int
    channels: int
    bitrate: int | None = None
    start: float = 0.0
    duration: float | None = None


class MediaInfo(BaseModel):
    """What a probe finds without decoding more than a frame."""

    model_config = ConfigDict(extra="forbid")

    path: str
    container: str
    size_bytes: int
    duration: float  # seconds, longest stream; 0 for a still image
    video: VideoInfo | None = None
    audio: AudioInfo | None = None
    subtitle_streams: int = 0
    metadata: dict[str, str] = {}  # container tags: title, artist, comment ... (strangers' text)


class DecodeSpec(BaseModel):
    """Which part of the file to decode, and how much of it to keep."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = 0.0  # seconds on the presentation timeline, 0 = first presented frame or sample of the file
    duration: float = 8.0  # seconds; the window is [start, start + duration)
    segments: int = 4  # native-resolution samples are spread over this many equal parts of the window
    frames_per_segment: int = 2  # consecutive native frames kept at the middle of each part
    thumb_side: int = 160  # longer side of the luma thumbnail kept of every decoded frame
    audio: bool = True
    video: bool = True


@dataclass
class VideoTrack:
    frames: np.ndarray  # uint8 [n, height, width, 3] RGB, native resolution, rotation applied
    pts: np.ndarray  # float64 [n] seconds, same clock as DecodeSpec.start
    thumbs: np.ndarray  # uint8 [m, h, w] luma of every frame in the window, in presentation order
    thumb_pts: np.ndarray  # float64 [m] seconds
    damaged: int = 0  # packets or frames that failed to decode or were flagged corrupt


@dataclass
class AudioTrack:
    samples: np.ndarray  # float32 [channels, n] in -1..1 (may exceed it), native rate, gap-filled with zeros
    rate: int  # Hz
    start: float  # seconds of the first sample, same clock as the frames
    gaps: list[tuple[float, float]] = field(default_factory=list)  # seconds where timestamps skip
    damaged: int = 0


@dataclass
class Clip:
    """One window of a file. An absent stream is `None` and `absent[...]` says why; it is never zeros."""

    info: MediaInfo
    start: float  # seconds
    end: float
    video: VideoTrack | None
    audio: AudioTrack | None
    absent: dict[str, str] = field(default_factory=dict)  # {"audio": "the file has no audio stream"}
    warnings: list[str] = field(default_factory=list)  # "truncated: 3.1 s of 8.0 s decoded" ...
