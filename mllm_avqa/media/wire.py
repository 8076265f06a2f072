"""What travels between the guarded process and its owner: one JSON header, then the bytes of the arrays.

JSON and not pickle, because the guarded process handles strangers' bytes and must not be able to run code in its owner.
The arrays go straight from memory into the socket and from the socket into memory.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import asdict, fields
from math import prod
from typing import Any

import numpy as np

from mllm_avqa.schema import errors
from mllm_avqa.schema.clip import AudioTrack, Clip, Limits, MediaInfo, VideoTrack
from mllm_avqa.schema.cues import Cue
from mllm_avqa.schema.whole import PictureSeries, Scan, SoundSeries

_LENGTH = struct.Struct("<I")
_MAX_HEADER = 256 << 20
_DTYPES = {"u1": np.uint8, "f4": np.float32, "f8": np.float64}
Arrays = list[np.ndarray]
Message = tuple[dict[str, Any], Arrays]


class ConnectionLost(Exception):
    """The other end is gone or speaks nonsense."""


def patience(op: str, limits: Limits) -> float:
    """Seconds that a request may take; a pass over a whole file watches its own time, and then has to be sent."""
    return limits.max_seconds + (limits.max_pass_seconds if op == "scan" else 0.0)


def send(sock: socket.socket, header: dict[str, Any], arrays: Arrays | None = None) -> None:
    """Writes one message; blocks until all of it is taken."""
    arrays = [np.ascontiguousarray(a) for a in arrays or []]
    described = [{"dtype": a.dtype.str[1:], "shape": a.shape} for a in arrays]
    body = json.dumps({**header, "arrays": described}).encode("ascii")
    sock.sendall(_LENGTH.pack(len(body)) + body)
    for array in arrays:
        if array.size:
            sock.sendall(array.reshape(-1).view(np.uint8).data)


def receive(sock: socket.socket, max_bytes: int, deadline: float | None = None) -> Message:
    """Reads one message.

    Args:
        max_bytes: most bytes of arrays that are accepted.
        deadline: `time.monotonic()` at which to give up; None waits for ever.

    Raises:
        TimeoutError: the deadline passed.
        ConnectionLost: the other end closed, or the message does not hold together.
    """
    (length,) = _LENGTH.unpack(_exactly(sock, np.empty(_LENGTH.size, np.uint8), deadline).tobytes())
    if length > _MAX_HEADER:
        raise ConnectionLost(f"a header of {length} bytes")
    try:
        header = json.loads(_exactly(sock, np.empty(length, np.uint8), deadline).tobytes())
        described = [(_DTYPES[a["dtype"]], tuple(int(n) for n in a["shape"])) for a in header.pop("arrays")]
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionLost(f"a header that cannot be read: {error}") from error
    if any(n < 0 for _, shape in described for n in shape):
        raise ConnectionLost("a negative array size")
    if sum(prod(shape) * np.dtype(dtype).itemsize for dtype, shape in described) > max_bytes:
        raise ConnectionLost("more data than the limits allow")
    arrays = []
    for dtype, shape in described:
        array = np.empty(shape, dtype)
        if array.size:
            _exactly(sock, array.reshape(-1).view(np.uint8), deadline)
        arrays.append(array)
    return header, arrays


def _exactly(sock: socket.socket, into: np.ndarray, deadline: float | None) -> np.ndarray:
    view, done = into.data, 0
    while done < len(view):
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
        try:
            got = sock.recv_into(view[done:])
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        if got == 0:
            raise ConnectionLost("closed")
        done += got
    return into


Answer = MediaInfo | Clip | Scan | list[Cue]


def pack(value: Answer) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a result."""
    if isinstance(value, MediaInfo):
        return {"info": value.model_dump()}, []
    if isinstance(value, list):
        return {"cues": [asdict(cue) for cue in value]}, []
    if isinstance(value, Scan):
        return _pack_scan(value)
    header: dict[str, Any] = {"info": value.info.model_dump(), "video": None, "audio": None}
    header["clip"] = {k: getattr(value, k) for k in ("start", "end", "absent", "warnings")}
    arrays: Arrays = []
    if (video := value.video) is not None:
        header["video"] = {"damaged": video.damaged}
        arrays += [video.frames, video.pts, video.thumbs, video.thumb_pts]
    if (audio := value.audio) is not None:
        header["audio"] = {"rate": audio.rate, "start": audio.start, "gaps": audio.gaps, "damaged": audio.damaged}
        arrays.append(audio.samples)
    return header, arrays


def _pack_scan(value: Scan) -> tuple[dict[str, Any], Arrays]:
    header: dict[str, Any] = {"scan": {"until": value.until, "complete": value.complete}}
    arrays: Arrays = []
    for name in ("pictures", "sound"):
        series = getattr(value, name)
        parts = {} if series is None else vars(series)
        arrays += [x for x in parts.values() if isinstance(x, np.ndarray)]
        rest = {k: None if isinstance(x, np.ndarray) else x for k, x in parts.items()}
        header["scan"][name] = rest or None
    return header, arrays


def _unpack_scan(scan: dict[str, Any], arrays: Arrays) -> Scan:
    left = iter(arrays)
    given: dict[str, Any] = {}
    for name, kind in (("pictures", PictureSeries), ("sound", SoundSeries)):
        parts = scan.pop(name)
        if parts is not None:
            filled = {f.name for f in fields(kind) if f.type == "np.ndarray"}
            parts |= {k: next(left) for k in parts if k in filled}
            if "gaps" in parts:
                parts["gaps"] = [(low, high) for low, high in parts["gaps"]]
        given[name] = None if parts is None else kind(**parts)
    return Scan(**scan, **given)


def unpack(header: dict[str, Any], arrays: Arrays) -> Answer:
    """The result that `pack` took apart.

    Raises:
        ConnectionLost: the parts do not make one.
    """
    try:
        if "cues" in header:
            return [Cue(**cue) for cue in header["cues"]]
        if "scan" in header:
            return _unpack_scan(header["scan"], arrays)
        info = MediaInfo.model_validate(header["info"])
        if "clip" not in header:
            return info
        video, audio = None, None
        if header["video"] is not None:
            frames, pts, thumbs, thumb_pts = arrays[:4]
            video = VideoTrack(frames, pts, thumbs, thumb_pts, **header["video"])
        if header["audio"] is not None:
            facts = header["audio"]
            facts["gaps"] = [(low, high) for low, high in facts["gaps"]]
            audio = AudioTrack(arrays[-1], **facts)
        return Clip(info=info, video=video, audio=audio, **header["clip"])
    except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise ConnectionLost(f"an answer that does not hold together: {error}") from error


def pack_error(error: errors.AvqaError) -> dict[str, Any]:
    """Header that stands for a typed error."""
    return {"error": type(error).__name__, "message": str(error)}


def unpack_error(header: dict[str, Any]) -> errors.AvqaError:
    """The error that `pack_error` took apart; names that are no error of this package become `MediaError`."""
    kind = getattr(errors, str(header.get("error")), None)
    is_ours = isinstance(kind, type) and issubclass(kind, errors.AvqaError)
    return (kind if is_ours and kind is not None else errors.MediaError)(str(header.get("message")))
