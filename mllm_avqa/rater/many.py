"""Many files: the next ones are read in threads while those before are scored together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mllm_avqa.corridor import Encoded, Scores, lowest
from mllm_avqa.media import content_hash
from mllm_avqa.model.findings import Asked
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.rater.scorer import Scorer
from mllm_avqa.schema.clip import WHOLE, Limits, Span
from mllm_avqa.schema.errors import AvqaError, ConfigError, typed
from mllm_avqa.schema.rating import Rating, RatingFailure
from mllm_avqa.whole import Overview
from mllm_avqa.windows import Prepared, Seconds, ahead

log = logging.getLogger(__name__)


@dataclass
class ReadFile:
    """A file's content hash and windows, encoded ahead of scoring, or what went wrong with it."""

    path: str
    digest: str = ""
    seen: Overview | None = None
    windows: list[tuple[Prepared, Encoded]] = field(default_factory=list)
    error: AvqaError | None = None


@dataclass(frozen=True)
class Many:
    """How many files are rated. windows: of a file with a text of the user's."""

    scorer: Scorer
    look_over: Callable[[str, Span], Overview]
    windows: Callable[[str, str | None, Span, Overview], Iterator[Prepared]]
    limits: Limits
    context: str

    def rate(
        self,
        paths: Iterable[str | Path],
        batch_size: int,
        explain: bool,
        user_texts: Sequence[str | None] | None,
        spans: Sequence[Span] | None = None,
        findings: bool = False,
        digests: Sequence[str] | None = None,
    ) -> Iterator[Rating | RatingFailure]:
        on_cpu = next(self.scorer.corridor.backbone.model.parameters()).device.type == "cpu"
        rows = 1 if on_cpu else batch_size  # windows per forward, files per turn
        for files in self.read(paths, rows, 2 * batch_size, user_texts, spans, digests):
            yield from self.finish(files, rows, explain, findings)

    def read(
        self,
        paths: Iterable[str | Path],
        chunk: int,
        held: int,
        user_texts: Sequence[str | None] | None = None,
        spans: Sequence[Span] | None = None,
        digests: Sequence[str] | None = None,
    ) -> Iterator[list[ReadFile]]:
        """Everything before scoring, `chunk` files at a time, as far ahead as `held` allows."""
        jobs = ((str(path), k, user_texts, spans, digests) for k, path in enumerate(paths))
        # While one waits for the decoder the other measures; engines of speech recognition do not share themselves.
        threads = 1 if self.context == "full" else 2
        return ahead(lambda job: self._read(*job), jobs, chunk=chunk, held=held, threads=threads)

    def _read(
        self,
        path: str,
        k: int,
        user_texts: Sequence[str | None] | None,
        spans: Sequence[Span] | None,
        digests: Sequence[str] | None,
    ) -> ReadFile:
        """Everything before scoring. Runs beside it, in a thread."""
        file = ReadFile(path)
        try:
            if user_texts is not None and k >= len(user_texts):
                raise ConfigError(f"{path}: file {k + 1} has no text, only {len(user_texts)} user_texts were given")
            user_text = user_texts[k] if user_texts is not None else None
            file.digest = content_hash(path, self.limits) if digests is None else digests[k]
            span = WHOLE if spans is None else spans[k]
            file.seen = self.look_over(path, span)
            for p in self.windows(path, user_text, span, file.seen):
                file.windows.append((p, self.scorer.encode(p)))
                p.free()
        except Exception as e:
            file.error = typed(e)
        return file

    def finish(
        self, files: Sequence[ReadFile], rows: int, explain: bool, findings: bool
    ) -> Iterator[Rating | RatingFailure]:
        """Score files together, `rows` windows per forward; one by one where more is asked of them or one fails."""
        flat = [encoded for f in files for _, encoded in f.windows if f.error is None]
        together: Iterator[Scores] | None = None
        begin = time.perf_counter()
        if not (explain or findings):
            try:
                together = iter(self.scorer.corridor.score(flat, self.scorer.language, rows))
            except Exception:  # of which file is found out below, and said in its place
                log.debug("a batch failed and is scored file by file", exc_info=True)
        share = (time.perf_counter() - begin) / max(1, len(flat))
        for f in files:
            result: Rating | RatingFailure
            try:
                result = self._rating(f, together, share, explain, findings)
            except Exception as e:
                result = RatingFailure(f.path, typed(e))
            yield result

    def _rating(
        self, f: ReadFile, together: Iterator[Scores] | None, share: float, explain: bool, findings: bool
    ) -> Rating:
        """The rating of a read file. together: the scores of its windows come next, after `share` seconds each."""
        if f.error is not None:
            raise f.error
        assert f.seen is not None  # a file that was read without an error
        seconds = Seconds()
        held: list[tuple[Scores, EncodedClip | None]] = []
        lists: list[list[Asked]] = []
        for p, encoded in f.windows:
            seconds.add(p.seconds)
            with seconds.of("model"):
                if together is not None:
                    held.append((next(together), None))
                elif explain or findings:
                    scores, clip = self.scorer.corridor.hold(encoded, self.scorer.language)
                    held.append((scores, clip))
                    lists.append(self.scorer.lists(clip, p, scores))
                else:
                    held.append((self.scorer.corridor.score([encoded], self.scorer.language)[0], None))
            seconds.add({"model": share if together is not None else 0.0})
        windows = [(p, s) for (p, _), (s, _) in zip(f.windows, held, strict=True)]
        worst = held[lowest([s for s, _ in held])][1]
        return self.scorer.rating(f.path, f.digest, windows, seconds, self.context, worst, explain, f.seen, lists)
