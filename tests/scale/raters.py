"""A rater without a model, picklable by value for processes that cannot import the tests; dies once if told to."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.errors import NotMedia
from mllm_avqa.schema.rating import Rating


class RowRater:
    """A file of n bytes is rated; BAD is no media; KILL ends the process, the first time (a file beside it says so)."""

    def __init__(self, weights: str = "w1") -> None:
        self.fingerprint = {"weights": weights}

    def rate_many(self, paths: Any, **options: Any) -> Any:
        for path in paths:
            data = Path(path).read_bytes()
            mark = Path(f"{path}.died")
            if data.startswith(b"KILL") and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            with open(f"{path}.rated", "a") as f:
                f.write("x")
            if data.startswith(b"BAD"):
                yield SimpleNamespace(path=str(path), error=NotMedia(f"{path}: no media"))
                continue
            media = MediaInfo(path=str(path), container="mp4", size_bytes=len(data), duration=float(len(data)))
            yield Rating(path=str(path), scores={}, media=media)

    def close(self) -> None:
        pass
