"""`Rater`: a path goes in, a `Rating` comes out. Ties the rooms together and holds no scoring logic of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import torch

from mllm_avqa.context.asr import AsrEngine, load_asr
from mllm_avqa.corridor import Corridor, Scores, lowest
from mllm_avqa.media import MediaReader, content_hash
from mllm_avqa.media.sources import Source, as_file, called
from mllm_avqa.media.window import cores
from mllm_avqa.model.attribution import attribute
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.checkpoint import open_checkpoint
from mllm_avqa.model.explain import MOST_TOKENS
from mllm_avqa.model.findings import Asked
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.model.views import withheld
from mllm_avqa.rater.chat import ChatSession
from mllm_avqa.rater.comparing import Takes
from mllm_avqa.rater.many import Many
from mllm_avqa.rater.scorer import Scorer
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.clip import WHOLE, Limits, Span
from mllm_avqa.schema.comparison import ComparedClips, PickedTakes
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.names import CONTEXT_LEVELS, WITHHELD, Aspect
from mllm_avqa.schema.rating import Rating, RatingFailure
from mllm_avqa.whole import Overview, look_over
from mllm_avqa.windows import Prepared, Seconds, file_windows, looked_at


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
        full_pass: bool = True,
        windows: int | str = "auto",
        hop: float | None = None,
        corridor: Callable[[Backbone, Card], Corridor] = Corridor,
    ) -> None:
        if unknown := [w for w in without if w not in WITHHELD]:
            raise ConfigError(f"{unknown[0]!r} is none of {', '.join(WITHHELD)} (--without)")
        if context not in CONTEXT_LEVELS:
            raise ConfigError(f"context {context!r} is not one of {', '.join(CONTEXT_LEVELS)} (--context)")
        card = card.model_copy(update={"views": looked_at(card.views, windows, hop)})
        self.card = card
        self.backbone = backbone
        self.language = language
        self.context = context
        self.asr = asr
        self.reader = MediaReader(reader=reader, limits=limits or Limits())
        # Beside other work a decoder is best left one core: its threads cost a fifth of its time in all.
        share = min(self.reader.limits.max_threads, max(1, cores() // 2))
        self._batch_reader = MediaReader(reader, self.reader.limits.model_copy(update={"max_threads": share}))
        self.corridor = corridor(backbone, card)
        self.corridor.check_language(language)
        self.weights = weights
        self.scorer = Scorer(
            self.corridor, card, weights, self.reader.reader, language, tuple(w for w in WITHHELD if w in without),
            card.free_text if free_text is None else free_text, full_pass,
        )  # fmt: skip

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
        dtype: torch.dtype | str = "auto",
        device: str | None = None,
        device_map: str | dict[str, Any] | None = None,
        four_bit: bool = False,
        allow_pickle: bool = False,
        without: Sequence[str] = (),
        free_text: bool | None = None,
        full_pass: bool = True,
        windows: int | str = "auto",
        hop: float | None = None,
    ) -> Rater:
        """Load a checkpoint. asr: path or name of a Whisper model (used with context="full"); threads: torch threads.

        without: what the model is kept from, so that one sees what scores rest on.
        free_text: explanations in the model's own words, `Card.free_text` unless given.
        full_pass: pass over all of every file for its whole-file facts, and to choose the windows of long ones.
        windows, hop: how many windows of a file are looked at ("auto": as the card says), and the seconds from one
        start to the next.
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
            free_text=free_text, full_pass=full_pass, windows=windows, hop=hop,
        )  # fmt: skip

    @classmethod
    def from_endpoint(
        cls, url: str, *, card: str | Path, model: str = "", key_env: str | None = None, **options: Any
    ) -> Rater:
        """Rate with a model that another server runs: vLLM with an export of `train export`, or `mllm-avqa serve`.

        card: folder of that export; its weights are not read. Clips are decoded, measured and shown as here, scores
        are read from the level tokens of the server; wordings of explanations are not chosen by the model. Aspects are
        those of a plain causal prompt (`rows.stock_aspects`). model: its name there, by default the only one;
        key_env: environment variable with the key; options: as of `Rater`.
        Raises ConfigError, CheckpointError, EndpointUnavailable, and ViewsDiffer when a clip is rated.
        """
        from mllm_avqa.rater.served import served

        return cls(*served(url, Path(card), model, key_env, options), **options)

    @classmethod
    def for_engine(cls, card: str | Path, **options: Any) -> Rater:
        """What stands before and behind a model that engines of a pipeline hold (`scale.VllmEngines`).

        card, options: as of `from_endpoint`. It rates nothing by itself. Raises ConfigError and CheckpointError.
        """
        from mllm_avqa.rater.served import staged

        return cls(*staged(Path(card), options), **options)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Equal fingerprints mean comparable scores."""
        return self.scorer.fingerprint(self.context)

    # ---- public -----------------------------------------------------------------------------------------------

    def rate(
        self,
        source: Source,
        *,
        user_text: str | None = None,
        explain: bool = True,
        context: str | None = None,
        attribution: bool = False,
        span: Span = WHOLE,
    ) -> Rating:
        """Rate a file, or `span` seconds of it: a path, bytes, an open file, or `Arrays` with their rates.

        Raises MediaError subclasses for what cannot be rated.

        attribution: also say what the scores rest on; up to `attribution.BUDGET` more forwards per window.
        """
        with as_file(source, self.reader.limits) as (path, name):
            rating = self._rate(path, user_text, explain, context or self.context, attribution, span)[0]
        return rating if name == path else called(rating, name)

    def chat(self, path: str | Path, *, user_text: str | None = None) -> ChatSession:
        """Rate a file and keep its encoding for questions."""
        rating, clip = self._rate(str(path), user_text, False, self.context)
        return ChatSession(rating, clip, self.card.languages, self.scorer.free_text)

    def rate_many(
        self,
        paths: Iterable[str | Path],
        *,
        batch_size: int = 4,
        explain: bool = False,
        user_texts: Sequence[str | None] | None = None,
        spans: Sequence[Span] | None = None,
        findings: bool = False,
        digests: Sequence[str] | None = None,
    ) -> Iterator[Rating | RatingFailure]:
        """Rate files in order; a file that fails gives a `RatingFailure` in its place.

        The next files are decoded and measured beside scoring; at most 2 x batch_size files are held at a time. An
        accelerator scores batch_size files in one forward; a processor is busy with one, more would only cost memory.
        spans: seconds to rate of each file, from .. to (None: its end). findings: look for faults without an
        explanation too. digests: `content_hash` of each, where known.
        """
        if user_texts is not None and isinstance(paths, Sized) and len(paths) != len(user_texts):
            raise ConfigError(f"{len(user_texts)} user_texts for {len(paths)} paths: one for each, or None")

        return self.many.rate(paths, batch_size, explain, user_texts, spans, findings, digests)

    @property
    def many(self) -> Many:
        """How many files are rated; its two halves, for pipelines that score between them."""

        def windows(path: str, user_text: str | None, span: Span, seen: Overview) -> Iterator[Prepared]:
            return self.windows(path, user_text, span=span, beside=True, seen=seen)

        return Many(self.scorer, partial(self.look_over, beside=True), windows, self.reader.limits, self.context)

    def compare(self, first: Source, second: Source, *, user_text: str | None = None) -> ComparedClips:
        """Two clips, aspect by aspect: which is better, by how much, how sure and why.

        Where they show or play the same, the windows are laid over the same content. Raises MediaError subclasses.
        """
        return Takes(self).compare(first, second, user_text)

    def pick(
        self, sources: Sequence[Source], *, aspect: Aspect = "overall", user_text: str | None = None
    ) -> PickedTakes:
        """Several takes in order, the best first; one that cannot be rated is named in `failed`.

        Raises ConfigError for fewer than two, and the first clip's error when none can be rated.
        """
        return Takes(self).pick(sources, aspect, user_text)

    def close(self) -> None:
        """End the processes that decode."""
        self.reader.close()
        self._batch_reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- one file ---------------------------------------------------------------------------------------------

    def look_over(self, path: str, span: Span = WHOLE, *, beside: bool = False) -> Overview:
        """Probe a file and pass over all of it, unless that is off or only a span is asked for. Raises MediaError."""
        reader = self._batch_reader if beside else self.reader
        chosen = None if span == WHOLE else span
        return look_over(path, reader, self.scorer.full_pass, chosen, self.card.views.window_seconds)

    def windows(
        self,
        path: str,
        user_text: str | None = None,
        context: str | None = None,
        *,
        span: Span = WHOLE,
        beside: bool = False,
        seen: Overview | None = None,
    ) -> Iterator[Prepared]:
        """The windows of a file, decoded and measured. beside: other work runs at the same time. Raises MediaError.

        seen: what `look_over` found, by which those of a long file are chosen.
        """
        return file_windows(
            path,
            self._batch_reader if beside else self.reader,
            self.card.views,
            context=context or self.context,
            texts={} if user_text is None else {"user": user_text},
            asr=self.asr,
            start=span[0],
            end=span[1],
            seen=seen,
        )

    def _rate(
        self,
        path: str,
        user_text: str | None,
        explain: bool,
        context: str,
        attribution: bool = False,
        span: Span = WHOLE,
    ) -> tuple[Rating, EncodedClip]:
        worst: tuple[Scores, EncodedClip] | None = None
        windows: list[tuple[Prepared, Scores]] = []
        whole: list[Prepared] = []  # with their views, for the attribution: `max_windows` of them at most
        lists: list[list[Asked]] = []
        seconds = Seconds()
        seen = self.look_over(path, span)
        for p in self.windows(path, user_text, context, span=span, seen=seen):
            with seconds.of("model"):
                scores, clip = self.corridor.hold(self.scorer.encode(p), self.language)
                lists.append(self.scorer.lists(clip, p, scores))
            seconds.add(p.seconds)
            if worst is None or lowest([worst[0], scores]) == 1:
                worst = scores, clip
            if attribution:
                whole.append(withheld(replace(p, views=replace(p.views)), self.scorer.without))
            p.free()  # memory stays one window, however long the file
            windows.append((p, scores))
        assert worst is not None  # every file has a window
        rating = self.scorer.rating(
            path, content_hash(path, self.reader.limits), windows, seconds, context, worst[1], explain, seen, lists
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

    def find(self, rating: Rating, clip: EncodedClip, span: tuple[float, float]) -> None:
        """Put the findings of a held window, which lies at `span` of the clip, into the rating of the clip."""
        self.scorer.find(rating, clip, span)

    def explain(self, rating: Rating, clip: EncodedClip, max_tokens: int = MOST_TOKENS) -> None:
        """Put an explanation into a rating that has its findings, and check its claims."""
        self.scorer.explain(rating, clip, max_tokens)
