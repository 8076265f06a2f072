"""`Rater`: a path goes in, a `Rating` comes out. Ties the rooms together and holds no scoring logic of its own."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import torch

from mllm_avqa import __version__
from mllm_avqa.context.asr import AsrEngine, load_asr
from mllm_avqa.corridor import Corridor, Encoded, Scores, lowest, pool_windows
from mllm_avqa.media import MediaReader, content_hash
from mllm_avqa.media.opening import show
from mllm_avqa.media.window import cores
from mllm_avqa.model.attribution import attribute
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.checkpoint import open_checkpoint, resolve_checkpoint, weights_hash
from mllm_avqa.model.explain import check_claims, write
from mllm_avqa.model.prompting import LANGUAGES, Branch, load_prompts
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.schema.calibration import Calibration
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import AvqaError, ConfigError
from mllm_avqa.schema.rating import ASPECTS, Rating, ScoreDistribution, Window
from mllm_avqa.windows import Prepared, ahead, file_windows, worst_evidence

__all__ = ["ChatSession", "Rater", "RatingFailure", "pool_windows", "resolve_checkpoint", "weights_hash"]

log = logging.getLogger(__name__)
CONTEXT_LEVELS = ("none", "fast", "full")


@dataclass
class RatingFailure:
    """A clip that could not be rated, in its place in the order."""

    path: str
    error: AvqaError


@dataclass
class _ReadFile:
    """A file's content hash and windows, encoded ahead of scoring, or what went wrong with it."""

    path: str
    digest: str = ""
    windows: list[tuple[Prepared, Encoded]] = field(default_factory=list)
    error: AvqaError | None = None


@dataclass
class ChatSession:
    """Questions on one clip, encoded once. Earlier turns are not fed back: every answer is about the clip alone."""

    rating: Rating
    clip: EncodedClip

    def ask(self, question: str, max_tokens: int = 160) -> str:
        return self.clip.generate(Branch("overall", question, quoted=True), max_tokens)


class Rater:
    """Rates clips with one checkpoint. Not thread-safe; use one per process."""

    def __init__(
        self,
        backbone: Backbone,
        card: Card,
        weights: str,
        *,
        reader: str = "pyav",
        limits: Limits | None = None,
        context: str = "fast",
        asr: AsrEngine | None = None,
        language: str = "en",
    ) -> None:
        if context not in CONTEXT_LEVELS:
            raise ConfigError(f"context {context!r} is not one of {', '.join(CONTEXT_LEVELS)} (--context)")
        if language not in LANGUAGES:
            raise ConfigError(f"language {language!r} is not one of {', '.join(LANGUAGES)} (--lang)")
        self.card = card
        self.backbone = backbone
        self.language = language
        self.context = context
        self.asr = asr
        self.reader = MediaReader(reader=reader, limits=limits or Limits())
        # Beside other work a decoder is best left one core: its threads cost a fifth of its time in all.
        share = min(self.reader.limits.max_threads, max(1, cores() // 2))
        self._batch_reader = MediaReader(reader, self.reader.limits.model_copy(update={"max_threads": share}))
        self.corridor = Corridor(backbone, card)
        self.weights = weights

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str = "nano",
        *,
        reader: str = "pyav",
        limits: Limits | None = None,
        context: str = "fast",
        asr: str | None = None,
        language: str = "en",
        threads: int | None = None,
        dtype: torch.dtype | str = torch.float32,
        device: str | None = None,
        device_map: str | dict[str, Any] | None = None,
        four_bit: bool = False,
    ) -> Rater:
        """Load a checkpoint. asr: path or name of a Whisper model (used with context="full"); threads: torch threads.

        dtype, device, device_map, four_bit: `checkpoint.open_checkpoint`.
        Raises CheckpointError (unknown name, unreadable directory, ambiguous level words) and ConfigError.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        backbone, card, weights = open_checkpoint(
            name_or_dir, dtype=dtype, device=device, device_map=device_map, four_bit=four_bit
        )
        engine = load_asr(asr) if asr is not None else None
        return cls(
            backbone, card, weights,
            reader=reader, limits=limits, context=context, asr=engine, language=language,
        )  # fmt: skip

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Equal fingerprints mean comparable scores."""
        prompts = repr(load_prompts("rating", self.language))
        settings = f"{self.card.views!r}{self.card.pooling!r}{self.card.isolate}{self.context}{self.reader.reader}"
        return {
            "model": self.card.name,
            "weights": self.weights,
            "prompts": hashlib.sha256(prompts.encode()).hexdigest()[:12],
            "views": hashlib.sha256(settings.encode()).hexdigest()[:12],
            "package": __version__,
        }

    @cached_property
    def calibration(self) -> Calibration | None:
        """Intervals of the scores, when the card has them for these very weights."""
        found = self.card.calibration
        if found is not None and found.weights != self.weights:
            log.warning("%s: its intervals belong to other weights and are left out", self.card.name)
            return None
        return found

    # ---- public -----------------------------------------------------------------------------------------------

    def rate(
        self,
        path: str | Path,
        *,
        user_text: str | None = None,
        explain: bool = True,
        context: str | None = None,
        attribution: bool = False,
    ) -> Rating:
        """Rate one file. Raises MediaError subclasses for a file that cannot be rated.

        attribution: also say what the scores rest on; up to `attribution.BUDGET` more forwards per window.
        """
        return self._rate(str(path), user_text, explain, context or self.context, attribution)[0]

    def chat(self, path: str | Path, *, user_text: str | None = None) -> ChatSession:
        """Rate a file and keep its encoding for questions."""
        rating, clip = self._rate(str(path), user_text, False, self.context)
        return ChatSession(rating, clip)

    def rate_many(
        self,
        paths: Iterable[str | Path],
        *,
        batch_size: int = 4,
        explain: bool = False,
        user_texts: Sequence[str | None] | None = None,
    ) -> Iterator[Rating | RatingFailure]:
        """Rate files in order; a file that fails gives a `RatingFailure` in its place.

        The next files are decoded and measured beside scoring; at most 2 x batch_size files are held at a time. An
        accelerator scores batch_size files in one forward; a processor is busy with one, more would only cost memory.
        """
        # A processor is busy with one window; more at once would only cost memory.
        on_cpu = next(self.backbone.model.parameters()).device.type == "cpu"
        rows = 1 if on_cpu else batch_size  # windows per forward, files per turn
        texts = iter(user_texts) if user_texts is not None else repeat(None)
        jobs = ((str(path), next(texts)) for path in paths)
        # While one waits for the decoder the other measures; engines of speech recognition do not share themselves.
        threads = 1 if self.context == "full" else 2
        for files in ahead(lambda job: self._read(*job), jobs, chunk=rows, held=2 * batch_size, threads=threads):
            yield from self._finish(files, rows, explain)

    def close(self) -> None:
        self.reader.close()
        self._batch_reader.close()

    # ---- one file ---------------------------------------------------------------------------------------------

    def windows(
        self, path: str, user_text: str | None = None, context: str | None = None, *, beside: bool = False
    ) -> Iterator[Prepared]:
        """The windows of a file, decoded and measured. beside: other work runs at the same time. Raises MediaError."""
        return file_windows(
            path,
            self._batch_reader if beside else self.reader,
            self.card.views,
            context=context or self.context,
            texts={} if user_text is None else {"user": user_text},
            asr=self.asr,
        )

    def _rate(
        self, path: str, user_text: str | None, explain: bool, context: str, attribution: bool = False
    ) -> tuple[Rating, EncodedClip]:
        worst: tuple[Scores, EncodedClip] | None = None
        windows: list[tuple[Prepared, Scores]] = []
        whole: list[Prepared] = []  # with their views, for the attribution: `max_windows` of them at most
        seconds = _Seconds()
        for p in self.windows(path, user_text, context):
            with seconds.of("model"):
                scores, clip = self.corridor.hold(self.corridor.encode(p, self.language), self.language)
            seconds.add(p.seconds)
            if worst is None or lowest([worst[0], scores]) == 1:
                worst = scores, clip
            if attribution:
                whole.append(replace(p, views=replace(p.views)))
            p.free()  # memory stays one window, however long the file
            windows.append((p, scores))
        assert worst is not None  # every file has a window
        rating = self._assemble(path, content_hash(path), windows, context)
        if explain:
            with seconds.of("explain"):
                self._write_explanation(rating, worst[1])
        if attribution:
            with seconds.of("attribution"):
                rating.attribution = attribute(
                    whole, lambda variants: self.corridor.score_windows(variants, self.language), self.corridor.pooled
                )
                self.corridor.forget()
        rating.seconds = seconds.rounded()
        return rating, worst[1]

    def _write_explanation(self, rating: Rating, clip: EncodedClip) -> None:
        """Write the explanation, conditioned on the scores, and check its claims."""
        rating.explanation = write(clip, rating.scores, self.language, self.card.lists_faults)
        rating.claims = check_claims(rating.explanation, rating, self.language)

    # ---- many files -------------------------------------------------------------------------------------------

    def _read(self, path: str, user_text: str | None) -> _ReadFile:
        """Everything before scoring. Runs beside it, in a thread."""
        file = _ReadFile(path)
        try:
            file.digest = content_hash(path)
            for p in self.windows(path, user_text, beside=True):
                file.windows.append((p, self.corridor.encode(p, self.language)))
                p.free()
        except AvqaError as e:
            file.error = e
        return file

    def _finish(self, files: Sequence[_ReadFile], rows: int, explain: bool) -> Iterator[Rating | RatingFailure]:
        """Score files together, `rows` windows per forward; one at a time where explanations are wanted."""
        flat = [encoded for f in files if f.error is None for _, encoded in f.windows]
        begin = time.perf_counter()
        scored: Iterator[tuple[Scores, EncodedClip | None]]
        if explain:
            scored = iter([self.corridor.hold(encoded, self.language) for encoded in flat])
        else:
            batches = (flat[i : i + rows] for i in range(0, len(flat), rows))
            scored = iter([(s, None) for batch in batches for s in self.corridor.score(batch, self.language)])
        share = (time.perf_counter() - begin) / max(1, len(flat))
        for f in files:
            if f.error is not None:
                yield RatingFailure(f.path, f.error)
                continue
            results = [next(scored) for _ in f.windows]
            windows = [(p, s) for (p, _), (s, _) in zip(f.windows, results, strict=True)]
            rating = self._assemble(f.path, f.digest, windows, self.context)
            seconds = _Seconds()
            for p, _ in windows:
                seconds.add(p.seconds | {"model": share})
            clip = results[lowest([s for s, _ in results])][1]
            if clip is not None:
                self._write_explanation(rating, clip)
            rating.seconds = seconds.rounded()
            yield rating

    # ---- result -----------------------------------------------------------------------------------------------

    def _assemble(self, path: str, digest: str, windows: list[tuple[Prepared, Scores]], context: str) -> Rating:
        """The rating of a file from its scored windows. digest: `content_hash` of the file."""
        first = windows[0][0]
        scores: dict[str, ScoreDistribution | None] = {}
        missing: dict[str, str] = {}
        found = self.corridor.pool([s for _, s in windows])
        for aspect in ASPECTS:
            scores[aspect] = pooled = found.get(aspect)
            if pooled is not None and self.calibration is not None:
                pooled.interval = self.calibration.interval(pooled, aspect, self.language)
            if pooled is None:
                missing[aspect] = first.missing.get(aspect, f"{self.card.name} does not score this aspect")
        warnings = list(dict.fromkeys(w for p, _ in windows for w in p.warnings))
        return Rating(
            path=show(path),
            scores=scores,
            missing=missing,
            windows=[
                Window(start=round(p.start, 3), end=round(p.end, 3), scores={a: s.get(a) for a in ASPECTS})
                for p, s in windows
            ],
            evidence=worst_evidence(p.evidence for p, _ in windows),
            context=first.context,
            media=first.info,
            warnings=warnings,
            inputs={"context": context, "windows": [p.views.notes for p, _ in windows]},
            fingerprint=self.fingerprint,
            content_hash=digest,
            language=self.language,
        )


class _Seconds(dict[str, float]):
    """Wall time by room."""

    @contextmanager
    def of(self, room: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.add({room: time.perf_counter() - begin})

    def add(self, part: Mapping[str, float]) -> None:
        for room, seconds in part.items():
            self[room] = self.get(room, 0.0) + seconds

    def rounded(self) -> dict[str, float]:
        return {room: round(seconds, 4) for room, seconds in self.items()}
