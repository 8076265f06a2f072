"""Pictures that FFmpeg does not read, through Pillow: animated WebP, AVIF of tiles or layers. No sound, 8 bits."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mllm_avqa.media.boxes import movie_of
from mllm_avqa.media.opening import check_pixels, check_regular, show, too_many_frames
from mllm_avqa.media.orientation import Orientation
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.plan import plan_runs
from mllm_avqa.schema.clip import Clip, DecodeSpec, Limits, MediaInfo, VideoInfo
from mllm_avqa.schema.errors import EmptyWindow, MediaTooLarge, NoUsableStream

if TYPE_CHECKING:
    from PIL.Image import Image

_TICKS = 1000  # durations are told in milliseconds
_FASTEST = 10  # ms: what claims to be shown for less is shown for this long, as browsers do with 0
_FAILURES = (OSError, ValueError, EOFError, SyntaxError, RuntimeError)  # what Pillow says of a broken file
_NO_SOUND = "the file has no audio stream"


def suits(path: str) -> bool:
    """Is this a picture that Pillow may read although FFmpeg does not?"""
    with open(path, "rb") as stream:
        head = stream.read(16)
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    movie = movie_of(path)
    return movie is not None and movie.brand in ("avif", "avis") and not movie.tracks


def probe(path: str, limits: Limits) -> MediaInfo:
    """Facts of a picture. Raises NoUsableStream, MediaTooLarge."""
    data, starts, _ = _frames(path)
    with _open(path, data, limits) as image:
        return _info(path, image, starts, limits)


def read_clip(path: str, spec: DecodeSpec, limits: Limits) -> Clip:
    """The window of `spec`. Raises NoUsableStream, EmptyWindow, MediaTooLarge."""
    import av

    data, starts, cut = _frames(path)
    with _open(path, data, limits) as image:
        info = _info(path, image, starts, limits)
        low, high = (round(t * _TICKS) for t in (spec.start, spec.start + spec.duration))
        still = len(starts) <= 2
        wanted = [n for n, (a, b) in enumerate(pairwise(starts)) if a < high and b > low]
        wanted = [n for n in wanted if starts[n] >= low] or wanted[:1] if not still else [0]
        if not wanted or not spec.video:
            raise EmptyWindow(f"{show(path)}: no video between {spec.start:g} and {spec.start + spec.duration:g} s")
        times = [starts[n] for n in wanted]
        runs = plan_runs(times, starts[wanted[-1] + 1], spec.segments, spec.frames_per_segment)
        pictures = Pictures(runs, spec.thumb_side, Orientation(), room=limits.max_frame_bytes)
        for number, time in zip(wanted, times, strict=True):
            frame = av.VideoFrame.from_ndarray(_pixels(path, image, number), "rgb24")
            pictures.add(frame, time, float(Fraction(time, _TICKS)))
        end = spec.start if still else min(spec.start + spec.duration, max(info.duration, spec.start))
        warnings = ["truncated: the picture is incomplete"] if cut else []
        return Clip(info, spec.start, end, pictures.track(), None, {"audio": _NO_SOUND}, warnings + pictures.warnings)


def _open(path: str, data: bytes, limits: Limits) -> Image:
    from PIL import Image as pillow

    try:
        image = pillow.open(BytesIO(data), formats=("WEBP", "AVIF"))
    except pillow.DecompressionBombError as error:
        raise MediaTooLarge(f"{show(path)}: {error} (--max-pixels)") from error
    except _FAILURES as error:
        raise NoUsableStream(f"{show(path)}: the picture cannot be read ({type(error).__name__})") from error
    check_pixels(path, *image.size, limits)
    return image


def _pixels(path: str, image: Image, number: int) -> np.ndarray:
    from PIL import ImageOps

    try:
        image.seek(number)
        return np.ascontiguousarray(ImageOps.exif_transpose(image).convert("RGB"))
    except _FAILURES as error:
        raise NoUsableStream(f"{show(path)}: picture {number + 1} cannot be decoded ({error})") from error


def _frames(path: str) -> tuple[bytes, list[int], bool]:
    """The file without a chunk that is cut off, when each frame is shown and the last one ends (ticks), was it cut?"""
    check_regular(path)
    with open(path, "rb") as stream:
        data = stream.read()
    if not data.startswith(b"RIFF"):
        return data, [0, _TICKS], False
    times, at, told = [0], 12, 8 + int.from_bytes(data[4:8], "little")
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data):
            break
        if data[at : at + 4] == b"ANMF":
            times.append(times[-1] + max(_FASTEST, int.from_bytes(data[at + 20 : at + 23], "little")))
        at += 8 + length + length % 2
    if cut := told > len(data) + 1:
        data = b"RIFF" + (at - 8).to_bytes(4, "little") + data[8:at]
    return data, times if len(times) > 1 else [0, _TICKS], cut


def _info(path: str, image: Image, times: list[int], limits: Limits) -> MediaInfo:
    count, seconds = len(times) - 1, times[-1] / _TICKS
    still = count == 1
    if count > limits.max_frames:
        raise too_many_frames(path, limits)
    if not still and seconds > limits.max_duration:
        raise MediaTooLarge(
            f"{show(path)}: {seconds:.1f} s long, at most {limits.max_duration:g} s are allowed (--max-duration)"
        )
    first = _pixels(path, image, 0)
    size = check_regular(path).st_size
    return MediaInfo(
        path=show(path),
        container=str(image.format).lower(),
        size_bytes=size,
        duration=0.0 if still else seconds,
        video=VideoInfo(
            codec="webp" if image.format == "WEBP" else "av1",
            width=first.shape[1],
            height=first.shape[0],
            fps=None if still else count / seconds,
            pixel_format="rgb24",
            bitrate=None if still else round(8 * size / seconds),
            duration=None if still else seconds,
            still=still,
        ),
    )
