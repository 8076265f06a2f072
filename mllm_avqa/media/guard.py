"""`MediaReader`: decoding of untrusted files in a child process that can be killed without losing anything."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from mllm_avqa.media import wire
from mllm_avqa.media.opening import show
from mllm_avqa.media.readers import check_reader
from mllm_avqa.schema.clip import Clip, DecodeSpec, Limits, MediaInfo
from mllm_avqa.schema.cues import Cue
from mllm_avqa.schema.errors import MediaError, MediaNotFound, MediaTimeout
from mllm_avqa.schema.plain import refused_url
from mllm_avqa.schema.whole import Scan

_log = logging.getLogger(__name__)
_START_SECONDS = 60.0  # a busy machine may need long to start Python
_LAST_WORDS = 2.0  # seconds for a process that hung up to finish its traceback
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from mllm_avqa.media import worker; worker.main()"
_readers: weakref.WeakSet[MediaReader] = weakref.WeakSet()
_default: MediaReader | None = None
_default_lock = threading.Lock()

# Requests one child serves: decoders of many sizes leave the heap in pieces, and a fresh child costs a third of a
# second.
_LIFETIME = 100


class _Child:
    """A running guarded process and the socket to it."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        # A file stays readable after a crash, and never fills up like a pipe that nobody empties.
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.served = 0
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *(os.path.abspath(p) for p in sys.path if p)]
        # Arenas and BLAS threads reserve address space by the gigabyte, which the memory limit would count.
        env = os.environ | {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, json.dumps(paths), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                env=env,
            )
        try:
            wire.receive(self.sock, 0, time.monotonic() + _START_SECONDS)
        except (wire.ConnectionLost, TimeoutError) as error:
            tail = self.end(_LAST_WORDS)
            raise MediaError(f"the decoding process did not start: {tail or error}") from error

    def end(self, patience: float = 0.0) -> str:
        """Ends the process, after `patience` seconds by force, and returns the last line it wrote to stderr."""
        self.sock.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, self.errors.tell() - 2000))
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        self.errors.close()
        return lines[-1][-300:].strip() if lines else ""  # of a traceback, the line that tells what it was

    def forget(self) -> None:
        """Lets go of a process that belongs to the process this one was forked from."""
        self.sock.close()
        self.errors.close()
        self.process.returncode = 0  # not this process's child: never wait for it, never warn about it


class MediaReader:
    """Reads media files through one persistent guarded process, replaced whenever it hangs, crashes or eats memory.

    Threads may share a reader (requests wait for each other). After a fork, and when pickled, each process gets a
    guarded process of its own. Use it in a `with` block, or call `close`.

    Args:
        reader: "pyav" or "decord".
        limits: what one request may cost.

    Raises:
        ConfigError: unknown reader.
    """

    def __init__(self, reader: str = "pyav", limits: Limits = Limits()) -> None:
        self.reader = check_reader(reader)
        self.limits = limits
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._finalizer: weakref.finalize[Any, MediaReader] | None = None
        _readers.add(self)

    def probe(self, path: str | os.PathLike[str]) -> MediaInfo:
        """Stream facts of `path`, with at most one frame of each stream decoded. Raises `MediaError` subclasses."""
        return cast(MediaInfo, self.request("probe", path))

    def read_clip(self, path: str | os.PathLike[str], spec: DecodeSpec = DecodeSpec()) -> Clip:
        """One decoded window of `path`. Raises `MediaError` subclasses, `ConfigError` for an impossible `spec`."""
        return cast(Clip, self.request("read_clip", path, spec))

    def read_subtitles(self, path: str | os.PathLike[str]) -> list[Cue]:
        """Cues of the embedded text subtitle streams of `path`. Raises `MediaError` subclasses."""
        return cast(list[Cue], self.request("read_subtitles", path))

    def scan(self, path: str | os.PathLike[str]) -> Scan:
        """One pass over all of `path`, for at most `Limits.max_pass_seconds`. Raises `MediaError` subclasses."""
        return cast(Scan, self.request("scan", path))

    def request(
        self,
        op: str,
        path: str | os.PathLike[str],
        spec: DecodeSpec | None = None,
        reader: str | None = None,
        limits: Limits | None = None,
    ) -> wire.Answer:
        """One request, by default with this object's reader and limits."""
        limits = limits or self.limits
        name = os.fsdecode(path)
        if (refused := refused_url(name)) and not os.path.exists(name):  # below, it has become a path of this machine
            raise MediaNotFound(refused)
        message = {
            "op": op,
            "path": os.path.abspath(name),  # relative to this process's directory, not the child's
            "reader": check_reader(reader or self.reader),
            "limits": limits.model_dump(),
            "spec": spec.model_dump() if spec else None,
        }
        with self._lock:
            # A second try, on a fresh process: the first may have died while idle, or have had little memory left.
            answer = self._exchange(message, limits, last=False) or self._exchange(message, limits, last=True)
        header, arrays = answer or ({}, [])
        if "error" in header:
            raise wire.unpack_error(header)
        return wire.unpack(header, arrays)

    def close(self) -> None:
        """Ends the guarded process; the next request starts another one."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"reader": self.reader, "limits": self.limits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _exchange(self, message: dict[str, Any], limits: Limits, last: bool) -> wire.Message | None:
        """Sends one request and returns the answer, or None if it is worth trying again."""
        child, path = self._running(), show(message["path"])
        patience = wire.patience(message["op"], limits)
        complete = False
        try:
            wire.send(child.sock, message)
            deadline = time.monotonic() + patience
            header, arrays = wire.receive(child.sock, limits.max_memory_mb * 2**20, deadline)
            complete = "memory" not in header
            child.served += 1
            return None if not complete and child.served > 1 and not last else (header, arrays)
        except TimeoutError as error:
            message_text = f"{path}: not done within {patience:g} s (--max-seconds)"
            raise MediaTimeout(message_text) from error
        except (wire.ConnectionLost, OSError) as error:
            tail = self._drop(_LAST_WORDS)
            _log.warning("the decoding process ended while reading %s (%s)", path, error)
            if not last:
                return None
            raise MediaError(f"{path}: the decoding process ended ({self._epitaph(child)}) {tail}".strip()) from error
        finally:
            if not complete:  # also after KeyboardInterrupt: a half-read answer would be taken for the next one
                self._drop()

    @staticmethod
    def _epitaph(child: _Child) -> str:
        code = child.process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"

    def _running(self) -> _Child:
        if self._child is not None and (self._child.served >= _LIFETIME or self._child.process.poll() is not None):
            self._drop()
        if self._child is None:
            self._child = _Child()
            self._finalizer = weakref.finalize(self, self._child.end)
        self._child.sock.settimeout(self.limits.max_seconds)
        return self._child

    def _drop(self, patience: float = 0.0) -> str:
        child, self._child = self._child, None
        if self._finalizer is not None:
            self._finalizer.detach()
        return child.end(patience) if child else ""

    def after_fork(self) -> None:
        """Called in a forked process: the lock may be held by a thread that does not exist here."""
        self._lock = threading.Lock()
        child, self._child = self._child, None
        if self._finalizer is not None:
            self._finalizer.detach()
        if child is not None:
            child.forget()


def default_reader() -> MediaReader:
    """The reader that the module functions share, created on first use."""
    global _default
    with _default_lock:
        if _default is None:
            _default = MediaReader()
        return _default


def _after_fork() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    for reader in list(_readers):
        reader.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
