"""Many files through one `Rater`: the next ones are decoded and measured beside scoring."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mllm_avqa.media import content_hash
from mllm_avqa.model.rows import EncodedSegment
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.pooling import add_seconds
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.rating import Rating, ScoreDistribution
from mllm_avqa.windows import Prepared

if TYPE_CHECKING:
    from mllm_avqa.rater import Rater

Encoded = tuple[list[EncodedSegment], dict[str, torch.Tensor], list[str]]  # what `Scorer.score` takes of a window


@dataclass
class RatingFailure:
    """A clip that could not be rated, in its place in the order."""

    path: str
    error: AvqaError


@dataclass
class PreparedFile:
    """A file's content hash and encoded windows, or what went wrong with it."""

    path: str
    digest: str
    windows: list[tuple[Prepared, Encoded]]
    error: AvqaError | None = None


class Batch:
    """One pass over many files; `Rater.rate_many` says what its settings mean."""

    def __init__(self, rater: Rater, batch_size: int, explain: bool) -> None:
        self.rater, self.explain = rater, explain
        on_cpu = next(rater.backbone.model.parameters()).device.type == "cpu"
        self.rows = 1 if on_cpu else batch_size  # windows per forward, files per turn
        self.held = 2 * batch_size

    def run(self, paths: Iterable[str | Path], texts: Iterator[str | None] | None) -> Iterator[Rating | RatingFailure]:
        """A result per file, in order. What has not begun when the caller stops is not begun any more."""
        pending: deque[Future[PreparedFile]] = deque()
        # While one waits for the decoder the other measures; engines of speech recognition do not share themselves.
        with ThreadPoolExecutor(1 if self.rater.context == "full" else 2) as pool:
            try:
                for path in paths:
                    text = next(texts) if texts is not None else None
                    pending.append(pool.submit(self.prepare, str(path), text))
                    if len(pending) >= self.held:
                        yield from self.finish([pending.popleft().result() for _ in range(self.rows)])
                while pending:
                    ready = [pending.popleft().result() for _ in range(min(self.rows, len(pending)))]
                    yield from self.finish(ready)
            finally:
                for left in pending:
                    left.cancel()

    def prepare(self, path: str, user_text: str | None) -> PreparedFile:
        """Everything before scoring. Runs beside it, in a thread."""
        try:
            done = []
            digest = content_hash(path)
            for p in self.rater.windows(path, user_text, beside=True):
                encoded = self.rater.encode(p)
                p.views.whole = p.views.fragments = p.views.sound = None
                done.append((p, encoded))
            return PreparedFile(path, digest, done)
        except AvqaError as e:
            return PreparedFile(path, "", [], e)

    def finish(self, files: Sequence[PreparedFile]) -> Iterator[Rating | RatingFailure]:
        """Score prepared files together, and their results."""
        flat = [encoded for f in files for _, encoded in f.windows]
        begin = time.perf_counter()
        scored = iter(self._score(flat))
        share = (time.perf_counter() - begin) / max(1, len(flat))
        for f in files:
            if f.error is not None:
                yield RatingFailure(f.path, f.error)
                continue
            results = [next(scored) for _ in f.windows]
            windows = [(p, s) for (p, _), (s, _) in zip(f.windows, results, strict=True)]
            rating = self.rater.assemble(f.path, f.digest, windows, self.rater.context)
            seconds: dict[str, float] = {}
            for p, _ in f.windows:
                add_seconds(seconds, p.seconds | {"model": share})
            rating.seconds = {k: round(v, 4) for k, v in seconds.items()}
            if self.explain:
                _, clip = min(results, key=lambda r: r[0]["overall"].score)
                assert clip is not None  # `_score` keeps them for explanations
                self.rater.write_explanation(rating, clip)
            yield rating

    def _score(self, flat: Sequence[Encoded]) -> list[tuple[dict[str, ScoreDistribution], EncodedClip | None]]:
        """Scores per window; with explanations also the encoded clip to write them from, one window at a time."""
        scorer, language = self.rater.scorer, self.rater.language
        if self.explain:
            return [scorer.encode(*encoded, language) for encoded in flat]
        batches = (flat[i : i + self.rows] for i in range(0, len(flat), self.rows))
        return [(s, None) for batch in batches for s in scorer.score(list(batch), language)]
