"""The guarded process: answers one request after the other until its owner goes away. Imports numpy and PyAV only."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from typing import Any

from mllm_avqa.media import wire
from mllm_avqa.media.opening import show
from mllm_avqa.media.readers import Reader, get_reader
from mllm_avqa.schema.clip import DecodeSpec, Limits
from mllm_avqa.schema.errors import AvqaError, MediaError, MediaTooLarge

_MAX_WORDS = 200  # of what a library says of its own failure
_GRACE = 2.0  # seconds after the owner's own timeout; matters only if the owner died meanwhile


def main() -> None:
    """Serves requests {op, path, reader, limits, spec?} from the socket whose number is the last argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who then closes the socket
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import av  # noqa: F401  # loaded before memory is measured

    readers: dict[str, Reader] = {}
    base = _address_space()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[-1])) as sock:
        wire.send(sock, {"ready": True})
        while True:
            try:
                request, _ = wire.receive(sock, 0)
            except wire.ConnectionLost:
                return
            limits = Limits.model_validate(request["limits"])
            # The kernel ends this process even if native code never returns.
            signal.setitimer(signal.ITIMER_REAL, wire.patience(request["op"], limits) + _GRACE)
            try:
                _limit_memory(base + limits.max_memory_mb * 2**20)
                value = _answer(request, limits, readers)
                _limit_memory(resource.RLIM_INFINITY)  # packing a finished result must not fail
                header, arrays = wire.pack(value)
                del value
            except AvqaError as error:
                header, arrays = wire.pack_error(error), []
            except MemoryError:
                _limit_memory(resource.RLIM_INFINITY)
                header, arrays = wire.pack_error(_too_much(request["path"], limits)), []
                header["memory"] = True
            except Exception as error:  # a stranger's bytes may set off anything: the next file deserves an answer too
                _limit_memory(resource.RLIM_INFINITY)
                header, arrays = wire.pack_error(_unforeseen(request["path"], error)), []
            signal.setitimer(signal.ITIMER_REAL, 0)
            try:
                wire.send(sock, header, arrays)
            except OSError:
                return
            # A container, its streams and its frames refer to each other: left to Python's own pace, the garbage of
            # dozens of files would pile up. What was there before the first request is frozen, so this takes 0.2 ms.
            del header, arrays
            gc.collect()


def _answer(request: dict[str, Any], limits: Limits, readers: dict[str, Reader]) -> Any:
    name = request["reader"]
    if name not in readers:
        readers[name] = get_reader(name)
    reader, path = readers[name], request["path"]
    if request["op"] == "read_clip":
        return reader.read_clip(path, DecodeSpec.model_validate(request["spec"]), limits)
    if request["op"] == "scan":
        return reader.scan(path, limits)
    return reader.probe(path, limits) if request["op"] == "probe" else reader.read_subtitles(path, limits)


def _unforeseen(path: str, error: Exception) -> MediaError:
    words = " ".join(str(error).split())[:_MAX_WORDS]
    return MediaError(f"{show(path)} cannot be read ({type(error).__name__}: {words})")


def _too_much(path: str, limits: Limits) -> MediaTooLarge:
    return MediaTooLarge(f"{show(path)}: decoding needs more than {limits.max_memory_mb} MB (--max-memory-mb)")


def _address_space() -> int:
    """Bytes of address space in use; 0 where the system does not tell (then the limit counts from zero)."""
    try:
        with open("/proc/self/statm", "rb") as stream:
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _limit_memory(soft: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
