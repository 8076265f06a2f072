"""One writer per output: two runs on the same file would interleave rows."""

from __future__ import annotations

import os
from pathlib import Path

import filelock

from mllm_avqa.schema.errors import OutputError


class FileLock:
    """A lock file beside the output; the kernel drops the lock when the process dies, however it dies.

    Raises OutputError when another process holds it or its folder can not be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = filelock.FileLock(path, timeout=0, thread_local=False)
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                seen = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as e:
                raise OutputError(f"-o: can not write in {path.parent}: {e.strerror}") from e
            try:
                self._lock.acquire()
                # The holder before us may have removed the file meanwhile: then ours is a lock on nothing.
                if path.exists() and os.path.samestat(os.fstat(seen), path.stat()):
                    return
                self._lock.release()
            except filelock.Timeout as e:
                raise OutputError(f"-o: another run is writing this output (it holds {path})") from e
            finally:
                os.close(seen)

    def release(self) -> None:
        """Remove the file while still holding it, then let go. A second call does nothing."""
        if self._lock.is_locked:
            self.path.unlink(missing_ok=True)
            self._lock.release()
