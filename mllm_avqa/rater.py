"""`Rater`: a path goes in, a `Rating` comes out. Ties the rooms together and holds no scoring logic of its own."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
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
from mllm_avqa.model.checkpoint import open_checkpoint, resolve_checkpoint
from mllm_avqa.model.explain import MOST_TOKENS, check_claims, write, write_freely
from mllm_avqa.model.findings import measured, settled
from mllm_avqa.model.prompting import CHAT, Branch, load_prompts
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.model.views import withheld
from mllm_avqa.model.weights import weights_hash
from mllm_avqa.schema.calibration import Calibration
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import AvqaError, ConfigError, typed
from mllm_avqa.schema.names import CONTEXT_LEVELS, WITHHELD
from mllm_avqa.schema.rating import ASPECTS, Rating, RatingFailure, ScoreDistribution, Window
from mllm_avqa.windows import Prepared, Seconds, ahead, file_windows, worst_evidence

__all__ = ["ChatSession", "Rater", "RatingFailure", "pool_windows", "resolve_checkpoint", "weights_hash"]

log = logging.getLogger(__name__)


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
        return self.clip.generate(Branch(CHAT, question, quoted=True), max_tokens)


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
        without: Sequence[str] = (),
        free_text: bool | None = None,
    ) -> None:
        if unknown := [w for w in without if w not in WITHHELD]:
            raise ConfigError(f"{unknown[0]!r} is none of {', '.join(WITHHELD)} (--without)")
        if context not in CONTEXT_LEVELS:
            raise ConfigError(f"context {context!r} is not one of {', '.join(CONTEXT_LEVELS)} (--context)")
        self.card = card
        self.backbone = backbone
        self.language = language
        self.free_text = card.free_text if free_text is None else free_text
        self.context = context
        self.asr = asr
        self.reader = MediaReader(reader=reader, limits=limits or Limits())
        # Beside other work a decoder is best left one core: its threads cost a fifth of its time in all.
        share = min(self.reader.limits.max_threads, max(1, cores() // 2))
        self._batch_reader = MediaReader(reader, self.reader.limits.model_copy(update={"max_threads": share}))
        self.corridor = Corridor(backbone, card)
        self.corridor.check_language(language)
        self.weights = weights
        self.without = tuple(w for w in WITHHELD if w in without)

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
        allow_pickle: bool = False,
        without: Sequence[str] = (),
        free_text: bool | None = None,
    ) -> Rater:
        """Load a checkpoint. asr: path or name of a Whisper model (used with context="full"); threads: torch threads.

        without: what the model is kept from, so that one sees what scores rest on.
        free_text: explanations in the model's own words, `Card.free_text` unless given.
        dtype, device, device_map, four_bit, allow_pickle: `checkpoint.open_checkpoint`.
        Raises CheckpointError (unknown name, unreadable directory, ambiguous level words) and ConfigError.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        backbone, card, weights = open_checkpoint(
            name_or_dir,
            dtype=dtype,
            device=device,
            device_map=device_map,
            four_bit=four_bit,
            allow_pickle=allow_pickle,
        )
        engine = load_asr(asr) if asr is not None else None
        return cls(
            backbone, card, weights,
            reader=reader, limits=limits, context=context, asr=engine, language=language, without=without,
            free_text=free_text,
        )  # fmt: skip

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Equal fingerprints mean comparable scores."""
        return self._fingerprint(self.context)

    def _fingerprint(self, context: str) -> dict[str, str]:
        prompts = repr(load_prompts("rating", self.language))
        settings = f"{self.card.scoring}{context}{self.reader.reader}{','.join(self.without)}"
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
        if user_texts is not None and isinstance(paths, Sized) and len(paths) != len(user_texts):
            raise ConfigError(f"{len(user_texts)} user_texts for {len(paths)} paths: one for each, or None")
        return self._rate_many(paths, batch_size, explain, user_texts)

    def _rate_many(
        self, paths: Iterable[str | Path], batch_size: int, explain: bool, user_texts: Sequence[str | None] | None
    ) -> Iterator[Rating | RatingFailure]:
        on_cpu = next(self.backbone.model.parameters()).device.type == "cpu"
        rows = 1 if on_cpu else batch_size  # windows per forward, files per turn
        jobs = ((str(path), k, user_texts) for k, path in enumerate(paths))
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
        seconds = Seconds()
        for p in self.windows(path, user_text, context):
            with seconds.of("model"):
                scores, clip = self.corridor.hold(self._encoded(p), self.language)
            seconds.add(p.seconds)
            if worst is None or lowest([worst[0], scores]) == 1:
                worst = scores, clip
            if attribution:
                whole.append(withheld(replace(p, views=replace(p.views)), self.without))
            p.free()  # memory stays one window, however long the file
            windows.append((p, scores))
        assert worst is not None  # every file has a window
        rating = self._result(
            path, content_hash(path, self.reader.limits), windows, seconds, context, worst[1], explain
        )
        if attribution:
            with seconds.of("attribution"):
                try:
                    rating.attribution = attribute(
                        whole,
                        lambda variants: self.corridor.score_windows(variants, self.language),
                        self.corridor.pooled,
                    )
                finally:
                    self.corridor.forget()
            rating.seconds = seconds.rounded()
        return rating, worst[1]

    # ---- many files -------------------------------------------------------------------------------------------

    def _read(self, path: str, k: int, user_texts: Sequence[str | None] | None) -> _ReadFile:
        """Everything before scoring. Runs beside it, in a thread."""
        file = _ReadFile(path)
        try:
            if user_texts is not None and k >= len(user_texts):
                raise ConfigError(f"{path}: file {k + 1} has no text, only {len(user_texts)} user_texts were given")
            user_text = user_texts[k] if user_texts is not None else None
            file.digest = content_hash(path, self.reader.limits)
            for p in self.windows(path, user_text, beside=True):
                file.windows.append((p, self._encoded(p)))
                p.free()
        except Exception as e:
            file.error = typed(e)
        return file

    def _finish(self, files: Sequence[_ReadFile], rows: int, explain: bool) -> Iterator[Rating | RatingFailure]:
        """Score files together, `rows` windows per forward; one by one where explanations are wanted or one fails."""
        flat = [encoded for f in files for _, encoded in f.windows if f.error is None]
        together: Iterator[Scores] | None = None
        begin = time.perf_counter()
        if not explain:
            try:
                together = iter(self.corridor.score(flat, self.language, rows))
            except Exception:  # of which file is found out below, and said in its place
                log.debug("a batch failed and is scored file by file", exc_info=True)
        share = (time.perf_counter() - begin) / max(1, len(flat))
        for f in files:
            result: Rating | RatingFailure
            try:
                result = self._rating(f, together, share, explain)
            except Exception as e:
                result = RatingFailure(f.path, typed(e))
            yield result

    def _rating(self, f: _ReadFile, together: Iterator[Scores] | None, share: float, explain: bool) -> Rating:
        """The rating of a read file. together: the scores of its windows come next, after `share` seconds each."""
        if f.error is not None:
            raise f.error
        seconds = Seconds()
        held: list[tuple[Scores, EncodedClip | None]] = []
        for p, encoded in f.windows:
            seconds.add(p.seconds)
            with seconds.of("model"):
                if together is not None:
                    held.append((next(together), None))
                elif explain:
                    held.append(self.corridor.hold(encoded, self.language))
                else:
                    held.append((self.corridor.score([encoded], self.language)[0], None))
            seconds.add({"model": share if together is not None else 0.0})
        windows = [(p, s) for (p, _), (s, _) in zip(f.windows, held, strict=True)]
        worst = held[lowest([s for s, _ in held])][1]
        return self._result(f.path, f.digest, windows, seconds, self.context, worst, explain)

    def _encoded(self, window: Prepared) -> Encoded:
        return self.corridor.encode(withheld(window, self.without), self.language)

    # ---- result -----------------------------------------------------------------------------------------------

    def _result(
        self,
        path: str,
        digest: str,
        windows: list[tuple[Prepared, Scores]],
        seconds: Seconds,
        context: str,
        clip: EncodedClip | None,
        explain: bool,
    ) -> Rating:
        """The rating of a file from its scored windows. digest: `content_hash`; clip: the worst of them, held."""
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
        rating = Rating(
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
            inputs={
                "context": context,
                "windows": [p.views.notes for p, _ in windows],
                **({"without": list(self.without)} if self.without else {}),
            },
            fingerprint=self._fingerprint(context),
            content_hash=digest,
            language=self.language,
        ).told()
        if clip is not None and found:  # where nothing was judged, there is nothing to find or to explain
            p, _ = windows[lowest([s for _, s in windows])]
            with seconds.of("explain"):
                self.find(rating, clip, (p.start, p.end))
                if explain:
                    self.explain(rating, clip)
        rating.seconds = seconds.rounded()
        return rating

    def find(self, rating: Rating, clip: EncodedClip, span: tuple[float, float]) -> None:
        """Put the findings of a held window, which lies at `span` of the clip, into the rating of the clip."""
        if self.card.lists_faults:
            found, rating.withdrawn = self.corridor.findings(clip, rating, span)
        else:
            found = measured(rating, self.card.findings)
        rating.findings = settled(found, rating)

    def explain(self, rating: Rating, clip: EncodedClip, max_tokens: int = MOST_TOKENS) -> None:
        """Put an explanation into a rating that has its findings, and check its claims."""
        if self.free_text:
            text = write_freely(clip, rating.scores, rating.language, self.card.lists_faults, max_tokens)
        else:
            text = write(partial(self.corridor.likelihoods, clip), rating, rating.language)
        rating.explanation, rating.claims = text, check_claims(text, rating, rating.language)
