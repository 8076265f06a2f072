"""A rater without a model: valid ratings that depend on the bytes of the file, errors for files that ask for one."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mllm_avqa.schema.clip import AudioInfo, Clip, DecodeSpec, MediaInfo, VideoInfo
from mllm_avqa.schema.errors import AvqaError, MediaNotFound, NotMedia
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Claim, Rating, ScoreDistribution, Window

# Stands in for card.ViewSpec, whose module costs a second to import.
VIEWS = SimpleNamespace(frames_per_segment=2, decode=lambda start: DecodeSpec(start=start))
WORDS = ("excellent", "good", "fair", "poor", "bad")


@dataclass
class Failure:
    path: str
    error: AvqaError


def distribution(level: int, share: float = 0.6) -> ScoreDistribution:
    """`share` on level 1..5, the rest evenly."""
    probs = {w: (share if 5 - i == level else (1 - share) / 4) for i, w in enumerate(WORDS)}
    score = sum(p * (5 - i) for i, p in enumerate(probs.values()))
    std = sum(p * (5 - i - score) ** 2 for i, p in enumerate(probs.values())) ** 0.5
    return ScoreDistribution(score=score, std=std, level=WORDS[5 - level], probs=probs, mass=0.99)


def rating_of(path: str, level: int = 4, **changes: Any) -> Rating:
    scores: dict[str, ScoreDistribution | None] = {
        "overall": distribution(level),
        "video": distribution(max(1, level - 1)),
        "audio": distribution(min(5, level + 1)),
        "sync": distribution(level),
        "text": None,
    }
    base = Rating(
        path=path,
        scores=scores,
        missing={"text": "no captions and no on-screen text found"},
        windows=[Window(start=0, end=8, scores=scores)],
        evidence=[
            Measurement(name="blur", modality="video", value=3.2, unit="px", severity="strong", spans=[(1.0, 2.5)]),
            Measurement(name="loudness", modality="audio", value=-23.1, unit="LUFS"),
        ],
        media=MediaInfo(
            path=path,
            container="mp4",
            size_bytes=1234567,
            duration=8.0,
            video=VideoInfo(codec="h264", width=640, height=360, fps=25.0, pixel_format="yuv420p"),
            audio=AudioInfo(codec="aac", sample_rate=48000, channels=2),
        ),
        warnings=["first", 'second, "quoted"\nand broken'],
        inputs={"windows": [{"frame_times": [0.5, 1.5], "native_size": [640, 360]}]},
        fingerprint={"model": "fake", "weights": "w1"},
        seconds={"media": 0.1, "model": 0.2},
    )
    return base.model_copy(update=changes)


class FakeRater:
    """Files that start with b"BAD" fail, others get a level from their hash. FAKE_SLEEP slows every clip down.

    b"BUG" raises what nobody typed, b"KILL" ends the worker process, b"HANG" hangs in C code.
    FAKE_RATED: a file that the path of every clip goes to.
    """

    def __init__(self, weights: str = "w1", **options: Any) -> None:
        self.fingerprint = {"model": "fake", "weights": weights, "package": "0"}
        self.card = SimpleNamespace(name="fake", limits="A fake: its scores mean nothing.", views=VIEWS)
        self.options = options
        self.reader = self
        self.seen: list[str] = []
        self.closed = False

    @classmethod
    def from_pretrained(cls, name_or_dir: str = "nano", **options: Any) -> FakeRater:
        return cls(os.environ.get("FAKE_WEIGHTS", "w1"), **options)

    def rate(
        self, path: str | Path, *, user_text: str | None = None, explain: bool = True, attribution: bool = False
    ) -> Rating:
        if rated := os.environ.get("FAKE_RATED"):
            with open(rated, "a") as f:
                f.write(f"{path}\n")
        time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
        self.seen.append(str(path))
        if not os.path.exists(path):
            raise MediaNotFound(f"{path}: No such file or directory")
        data = Path(path).read_bytes()
        if data.startswith(b"HANG"):  # C code that does not return to Python, but lets threads run
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # so that it is not woken
            ctypes.CDLL(None).sleep(100)
        if data.startswith(b"BUG"):
            raise IndexError("an exception nobody typed")
        if data.startswith(b"KILL") and parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        if data.startswith(b"BAD"):
            raise NotMedia(f"{path}: no container format recognises the bytes")
        print("a chatty library writes to stdout")
        level = hashlib.sha256(data + (user_text or "").encode()).digest()[0] % 5 + 1
        rating = rating_of(str(path), level)
        if explain:
            rating.explanation = "The picture is sharp.\nThe sound is fine."
            rating.claims = [
                Claim(text="The picture is sharp.", support="contradicted", because="blur 3.2 px (strong)"),
                Claim(text="The sound is fine.", support="supported", because="audio 4.2"),
            ]
        return rating

    def rate_many(
        self,
        paths: Iterable[str | Path],
        *,
        batch_size: int = 4,
        explain: bool = False,
        user_texts: Iterable[str | None] | None = None,
        digests: Iterable[str] | None = None,
    ) -> Iterator[Rating | Failure]:
        for path, text in zip(paths, user_texts or (), strict=True):
            try:
                yield self.rate(path, user_text=text, explain=explain)
            except AvqaError as e:
                yield Failure(str(path), e)

    def chat(self, path: str | Path, *, user_text: str | None = None) -> Any:
        return SimpleNamespace(rating=self.rate(path), ask=lambda question: f"You asked:\n{question}")

    def read_clip(self, path: str, spec: DecodeSpec) -> Clip:
        return Clip(rating_of(path).media, 0.0, 8.0, None, None, {"video": "the fake decodes nothing"})

    def close(self) -> None:
        self.closed = True
