"""One writer per output: two runs on the same file would interleave rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mllm_avqa.schema.errors import OutputError

if sys.platform != "win32":
    import fcntl


class FileLock:
    """An advisory lock beside the output; the kernel drops it when the process dies, however it dies.

    Raises OutputError when another process holds it or its folder can not be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as e:
                raise OutputError(f"-o: can not write in {path.parent}: {e.strerror}") from e
            if sys.platform == "win32":
                return
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                os.close(self._fd)
                raise OutputError(f"-o: another run is writing this output (it holds {path})") from e
            # Between open and lock the holder may have removed the file: then ours is a lock on nothing.
            if path.exists() and os.fstat(self._fd).st_ino == path.stat().st_ino:
                return
            os.close(self._fd)

    def release(self) -> None:
        """Remove the file while still holding it, then let go."""
        self.path.unlink(missing_ok=True)
        os.close(self._fd)
