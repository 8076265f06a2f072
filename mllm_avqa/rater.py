"""`Rater`: a path goes in, a `Rating` comes out. Ties the rooms together and holds no scoring logic of its own."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mllm_avqa import __version__
from mllm_avqa.context.asr import AsrEngine, load_asr
from mllm_avqa.judge import WindowJudge
from mllm_avqa.many import Batch, Encoded, RatingFailure
from mllm_avqa.media import MediaReader, content_hash
from mllm_avqa.media.opening import show
from mllm_avqa.media.window import cores
from mllm_avqa.model.attribution import attribute
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.checkpoint import open_checkpoint, resolve_checkpoint, weights_hash
from mllm_avqa.model.explain import check_claims, write
from mllm_avqa.model.prompting import LANGUAGES, Branch, load_prompts
from mllm_avqa.model.scoring import EncodedClip, Scorer, encode_prefix
from mllm_avqa.pooling import add_seconds, pool_windows, worst_evidence
from mllm_avqa.schema.calibration import Calibration
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.clip import Limits, MediaInfo
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS, Attribution, Rating, ScoreDistribution, Window
from mllm_avqa.windows import Prepared, prepare, window_starts

__all__ = ["ChatSession", "Rater", "RatingFailure", "pool_windows", "resolve_checkpoint", "weights_hash"]

log = logging.getLogger(__name__)
CONTEXT_LEVELS = ("none", "fast", "full")


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
        self.scorer = Scorer(backbone, card.aspects, card.level_words, card.isolate)
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
        assert clip is not None  # _rate keeps the clip of every rated file
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
        return Batch(self, batch_size, explain).run(paths, iter(user_texts) if user_texts is not None else None)

    def close(self) -> None:
        self.reader.close()
        self._batch_reader.close()

    # ---- one file ---------------------------------------------------------------------------------------------

    def windows(
        self, path: str, user_text: str | None = None, context: str | None = None, *, beside: bool = False
    ) -> Iterator[Prepared]:
        """The windows of a file, decoded and measured. beside: other work runs at the same time. Raises MediaError."""
        reader = self._batch_reader if beside else self.reader
        context = context or self.context
        info: MediaInfo = reader.probe(path)
        for start in window_starts(info.duration, self.card.views):
            yield prepare(path, start, reader, self.card.views, context=context, user_text=user_text, asr=self.asr)

    def encode(self, p: Prepared) -> Encoded:
        """What `Scorer.score` takes of a window."""
        segments, media = encode_prefix(
            self.backbone, p.views, p.evidence, p.context, self.language, style=self.card.facts
        )
        return segments, media, [a for a in p.aspects if a in self.card.aspects]

    def _rate(
        self, path: str, user_text: str | None, explain: bool, context: str, attribution: bool = False
    ) -> tuple[Rating, EncodedClip | None]:
        worst: tuple[float, EncodedClip] | None = None
        windows: list[tuple[Prepared, dict[str, ScoreDistribution]]] = []
        whole: list[Prepared] = []  # with their views, for the attribution: `max_windows` of them at most
        seconds: dict[str, float] = {}
        for p in self.windows(path, user_text, context):
            begin = time.perf_counter()
            segments, media, aspects = self.encode(p)
            scores, clip = self.scorer.encode(segments, media, aspects, self.language)
            add_seconds(seconds, p.seconds | {"model": time.perf_counter() - begin})
            if worst is None or scores["overall"].score < worst[0]:
                worst = (scores["overall"].score, clip)  # the explanation looks at the window that hurts most
            if attribution:
                whole.append(replace(p, views=replace(p.views)))
            p.views.whole = p.views.fragments = p.views.sound = None  # memory stays one window, however long the file
            windows.append((p, scores))
        rating = self.assemble(path, content_hash(path), windows, context)
        if explain and worst is not None:
            begin = time.perf_counter()
            self.write_explanation(rating, worst[1])
            seconds["explain"] = time.perf_counter() - begin
        if attribution:
            begin = time.perf_counter()
            rating.attribution = self._attribute(whole)
            seconds["attribution"] = time.perf_counter() - begin
        rating.seconds = {k: round(v, 4) for k, v in seconds.items()}
        return rating, worst[1] if worst else None

    def write_explanation(self, rating: Rating, clip: EncodedClip) -> None:
        """Write the explanation, conditioned on the scores, and check its claims."""
        rating.explanation = write(clip, rating.scores, self.language, self.card.lists_faults)
        rating.claims = check_claims(rating.explanation, rating, self.language)

    def _attribute(self, windows: list[Prepared]) -> Attribution:
        judge = WindowJudge(self.backbone, self.scorer, self.card)
        return attribute(
            windows,
            lambda variants: judge.windows(variants, self.language),
            lambda scores: pool_windows(scores, self.card.pooling.worst),
        )

    # ---- result -----------------------------------------------------------------------------------------------

    def assemble(
        self, path: str, digest: str, windows: list[tuple[Prepared, dict[str, ScoreDistribution]]], context: str
    ) -> Rating:
        """The rating of a file from its scored windows. digest: `content_hash` of the file."""
        first = windows[0][0]
        scores: dict[str, ScoreDistribution | None] = {}
        missing: dict[str, str] = {}
        for aspect in ASPECTS:
            given = [s[aspect] for _, s in windows if aspect in s]
            scores[aspect] = pooled = pool_windows(given, self.card.pooling.worst) if given else None
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
            evidence=list(first.evidence) if len(windows) == 1 else worst_evidence([p for p, _ in windows]),
            context=first.context,
            media=first.info,
            warnings=warnings,
            inputs={"context": context, "windows": [p.views.notes for p, _ in windows]},
            fingerprint=self.fingerprint,
            content_hash=digest,
            language=self.language,
        )
