"""What can be rated besides a path: bytes, an open file, arrays with their rates. Each becomes a file for a while.

So there is one way into the corridor, with all its checks; arrays are written without loss (FFV1 and PCM).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import ConfigError, MediaTooLarge
from mllm_avqa.schema.rating import Rating

CHUNK = 1 << 20


@dataclass(frozen=True)
class Arrays:
    """Decoded media: NumPy arrays or tensors, at least one of picture and sound.

    video: [frames, height, width, 3] or [frames, 3, height, width], uint8 or floats of 0..1; fps: frames per second.
    audio: [samples] or [channels, samples], floats of -1..1 or int16; rate: samples per second.
    """

    video: Any = None
    fps: float | None = None
    audio: Any = None
    rate: int | None = None
    name: str = "arrays"


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Arrays


@contextmanager
def as_file(source: Source, limits: Limits) -> Iterator[tuple[str, str]]:
    """Where a source lies as a file while the block runs, and what it is called.

    Raises ConfigError for arrays that are no clip, MediaTooLarge for a stream beyond `--max-bytes`.
    """
    if isinstance(source, str | os.PathLike):
        yield os.fspath(source), os.fspath(source)
        return
    with tempfile.TemporaryDirectory(prefix="mllm-avqa-") as folder:
        if isinstance(source, Arrays):
            path = Path(folder) / "arrays.mkv"
            _write(source, path)
            yield str(path), source.name
            return
        name = getattr(source, "name", None)
        told = name if isinstance(name, str) else type(source).__name__
        path = Path(folder) / f"stream{Path(told).suffix if isinstance(name, str) else ''}"
        _spool(source, path, limits.max_bytes)
        yield str(path), told


def called(rating: Rating, name: str) -> Rating:
    """The rating of a file that is gone, by the name of what it was."""
    media = rating.media.model_copy(update={"path": name})
    return rating.model_copy(update={"path": name, "media": media})


def _spool(source: bytes | bytearray | memoryview | BinaryIO, path: Path, most: int) -> None:
    with path.open("wb") as f:
        if isinstance(source, bytes | bytearray | memoryview):
            if len(source) > most:
                raise MediaTooLarge(f"{len(source)} bytes, at most {most} (--max-bytes)")
            f.write(source)
            return
        size = 0
        while chunk := source.read(CHUNK):
            if not isinstance(chunk, bytes):
                raise ConfigError(f"a file object must be opened in binary mode, not give {type(chunk).__name__}")
            size += len(chunk)
            if size > most:
                raise MediaTooLarge(f"a stream of more than {most} bytes (--max-bytes)")
            f.write(chunk)


def _write(arrays: Arrays, path: Path) -> None:
    """A Matroska file that decodes to exactly these pixels and samples."""
    import av

    if arrays.video is None and arrays.audio is None:
        raise ConfigError("Arrays: neither video nor audio is given")
    frames = None if arrays.video is None else _frames(arrays.video)
    sound = None if arrays.audio is None else _sound(arrays.audio)
    with av.open(str(path), "w") as out:
        packets = []
        if frames is not None:
            fps = Fraction(_positive(arrays.fps, "fps")).limit_denominator(1001)
            video = cast(Any, out.add_stream("ffv1", rate=fps))
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = "bgr0"
            packets.append((video, _pictures(frames, fps)))
        if sound is not None:
            rate = int(_positive(arrays.rate, "rate"))
            layout = {1: "mono", 2: "stereo"}.get(len(sound), f"{len(sound)}c")
            kind = ("pcm_s16le", "s16") if sound.dtype == np.int16 else ("pcm_f32le", "flt")
            audio = cast(Any, out.add_stream(kind[0], rate=rate, layout=layout))
            packets.append((audio, _blocks(sound, rate, kind[1], layout)))
        for stream, made in packets:
            for frame in made:
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))


def _pictures(frames: np.ndarray, fps: Fraction) -> Iterator[Any]:
    import av

    for n, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(format="bgr0")
        frame.pts, frame.time_base = n, 1 / fps
        yield frame


def _blocks(sound: np.ndarray, rate: int, form: str, layout: str) -> Iterator[Any]:
    import av

    for at in range(0, sound.shape[1], rate):
        packed = np.ascontiguousarray(sound[:, at : at + rate].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format=form, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        yield frame


def _array(given: Any) -> np.ndarray:
    """A NumPy array of a tensor of any library, on any device."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    return np.asarray(given)


def _frames(given: Any) -> np.ndarray:
    v = _array(given)
    if v.ndim == 4 and v.shape[3] != 3 and v.shape[1] == 3:
        v = v.transpose(0, 2, 3, 1)
    if v.ndim != 4 or v.shape[3] != 3 or not v.size:
        raise ConfigError(f"Arrays.video has shape {list(v.shape)}: [frames, height, width, 3] is needed")
    if v.dtype == np.uint8:
        return v
    if not np.issubdtype(v.dtype, np.floating) or not (np.isfinite(v).all() and v.min() >= 0 and v.max() <= 1):
        raise ConfigError(f"Arrays.video holds {v.dtype}: uint8, or floats from 0 to 1, are needed")
    return np.asarray(np.rint(v * 255), dtype=np.uint8)


def _sound(given: Any) -> np.ndarray:
    a = _array(given)
    a = a[None] if a.ndim == 1 else a
    if a.ndim != 2 or not a.size or a.shape[0] > 16:
        raise ConfigError(f"Arrays.audio has shape {list(a.shape)}: [samples] or [channels, samples] is needed")
    if a.dtype == np.int16:
        return a
    if not np.issubdtype(a.dtype, np.floating) or not np.isfinite(a).all():
        raise ConfigError(f"Arrays.audio holds {a.dtype}: finite floats of -1 to 1, or int16, are needed")
    return np.asarray(a, dtype=np.float32)


def _positive(value: float | None, name: str) -> float:
    if value is None or not 0 < value < 1e6:
        raise ConfigError(f"Arrays.{name} is {value}: a number above 0 is needed beside the array")
    return value
