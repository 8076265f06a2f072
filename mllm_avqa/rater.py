"""`Rater`: a path goes in, a `Rating` comes out. Ties the rooms together and holds no scoring logic of its own."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mllm_avqa import __version__
from mllm_avqa.backbones import load_backbone
from mllm_avqa.backbones.base import Backbone
from mllm_avqa.calibration import Calibration
from mllm_avqa.card import Card
from mllm_avqa.context.asr import AsrEngine, load_asr
from mllm_avqa.errors import AvqaError, CheckpointError, ConfigError
from mllm_avqa.explain import check_claims
from mllm_avqa.levels import WORDS
from mllm_avqa.media import MediaReader, content_hash
from mllm_avqa.media.clip import Limits, MediaInfo
from mllm_avqa.media.opening import show
from mllm_avqa.media.window import cores
from mllm_avqa.prepare import Prepared, prepare, window_starts
from mllm_avqa.prompting import LANGUAGES, Branch, explain_branch, load_prompts
from mllm_avqa.rating import ASPECTS, Rating, ScoreDistribution, Window
from mllm_avqa.rows import EncodedSegment
from mllm_avqa.scoring import EncodedClip, Scorer, encode_prefix, summarise

log = logging.getLogger(__name__)
CONTEXT_LEVELS = ("none", "fast", "full")
_PreparedFile = tuple[str, str, "list[Any] | AvqaError"]  # path, content hash, encoded windows or what went wrong


@dataclass
class RatingFailure:
    """A clip that could not be rated, in its place in the order."""

    path: str
    error: AvqaError


@dataclass
class ChatSession:
    """Questions on one clip, encoded once. Earlier turns are not fed back: every answer is about the clip alone."""

    rating: Rating
    clip: EncodedClip

    def ask(self, question: str, max_tokens: int = 160) -> str:
        return self.clip.generate(Branch("overall", question, quoted=True), max_tokens)


def resolve_checkpoint(name: str) -> Path:
    """Directory of a checkpoint: "nano" is embedded, anything else is a path. Raises CheckpointError."""
    directory = Path(__file__).parent / "nano" if name == "nano" else Path(name).expanduser()
    if not directory.is_dir():
        raise CheckpointError(f"checkpoint {name!r} is neither 'nano' nor a directory with an avqa.yaml (--checkpoint)")
    return directory


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
        dtype: torch.dtype = torch.float32,
        device: str | None = None,
    ) -> Rater:
        """Load a checkpoint. asr: path or name of a Whisper model (used with context="full"); threads: torch threads.

        Raises CheckpointError (unknown name, unreadable directory, ambiguous level words) and ConfigError.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        directory = resolve_checkpoint(name_or_dir)
        card = Card.load(directory)
        backbone = load_backbone(directory, card, dtype)
        backbone.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        engine = load_asr(asr) if asr is not None else None
        return cls(
            backbone, card, weights_hash(directory),
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
        self, path: str | Path, *, user_text: str | None = None, explain: bool = True, context: str | None = None
    ) -> Rating:
        """Rate one file. Raises MediaError subclasses for a file that cannot be rated."""
        return self._rate(str(path), user_text, explain, context or self.context)[0]

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
        texts = iter(user_texts) if user_texts is not None else None
        rows = 1 if self._on_cpu() else batch_size
        pending: deque[Future[_PreparedFile]] = deque()
        # While one waits for the decoder the other measures; engines of speech recognition do not share themselves.
        with ThreadPoolExecutor(1 if self.context == "full" else 2) as pool:
            try:
                for path in paths:
                    text = next(texts) if texts is not None else None
                    pending.append(pool.submit(self._prepare_file, str(path), text))
                    if len(pending) >= 2 * batch_size:
                        yield from self._finish([pending.popleft().result() for _ in range(rows)], explain, rows)
                while pending:
                    ready = [pending.popleft().result() for _ in range(min(rows, len(pending)))]
                    yield from self._finish(ready, explain, rows)
            finally:
                for left in pending:
                    left.cancel()

    def close(self) -> None:
        self.reader.close()
        self._batch_reader.close()

    # ---- one file ---------------------------------------------------------------------------------------------

    def _windows(self, path: str, user_text: str | None, context: str, reader: MediaReader) -> Iterator[Prepared]:
        info: MediaInfo = reader.probe(path)
        for start in window_starts(info.duration, self.card.views):
            yield prepare(path, start, reader, self.card.views, context=context, user_text=user_text, asr=self.asr)

    def _encode(self, p: Prepared) -> tuple[list[EncodedSegment], dict[str, torch.Tensor], list[str]]:
        segments, media = encode_prefix(
            self.backbone, p.views, p.evidence, p.context, self.language, style=self.card.facts
        )
        return segments, media, [a for a in p.aspects if a in self.card.aspects]

    def _rate(self, path: str, user_text: str | None, explain: bool, context: str) -> tuple[Rating, EncodedClip | None]:
        worst: tuple[float, EncodedClip] | None = None
        windows: list[tuple[Prepared, dict[str, ScoreDistribution]]] = []
        seconds: dict[str, float] = {}
        for p in self._windows(path, user_text, context, self.reader):
            begin = time.perf_counter()
            segments, media, aspects = self._encode(p)
            scores, clip = self.scorer.encode(segments, media, aspects, self.language)
            add(seconds, p.seconds | {"model": time.perf_counter() - begin})
            if worst is None or scores["overall"].score < worst[0]:
                worst = (scores["overall"].score, clip)  # the explanation looks at the window that hurts most
            p.views.whole = p.views.fragments = p.views.sound = None  # memory stays one window, however long the file
            windows.append((p, scores))
        rating = self._rating(path, content_hash(path), windows, context)
        if explain and worst is not None:
            begin = time.perf_counter()
            self._explain(rating, worst[1])
            seconds["explain"] = time.perf_counter() - begin
        rating.seconds = {k: round(v, 4) for k, v in seconds.items()}
        return rating, worst[1] if worst else None

    def _explain(self, rating: Rating, clip: EncodedClip) -> None:
        """Write the explanation, conditioned on the scores, and check its claims."""
        levels = {a: s.level for a, s in rating.scores.items() if s is not None}
        rating.explanation = clip.generate(explain_branch(levels, self.language))
        rating.claims = check_claims(rating.explanation, rating, self.language)

    # ---- many files -------------------------------------------------------------------------------------------

    def _on_cpu(self) -> bool:
        return next(self.backbone.model.parameters()).device.type == "cpu"

    def _prepare_file(self, path: str, user_text: str | None) -> _PreparedFile:
        """(path, content hash, encoded windows or what went wrong). Runs beside scoring, in a thread."""
        try:
            done = []
            digest = content_hash(path)
            for p in self._windows(path, user_text, self.context, self._batch_reader):
                encoded = self._encode(p)
                p.views.whole = p.views.fragments = p.views.sound = None
                done.append((p, encoded))
            return path, digest, done
        except AvqaError as e:
            return path, "", e

    def _finish(self, files: list[_PreparedFile], explain: bool, rows: int) -> Iterator[Rating | RatingFailure]:
        flat = [encoded for _, _, done in files if isinstance(done, list) for _, encoded in done]
        begin = time.perf_counter()
        scored: Iterator[Any]
        if explain:
            scored = iter([self.scorer.encode(s, m, a, self.language) for s, m, a in flat])
        else:
            scored = iter([(s, None) for s in self._score_batches(flat, rows)])
        share = (time.perf_counter() - begin) / max(1, len(flat))
        for path, digest, done in files:
            if isinstance(done, AvqaError):
                yield RatingFailure(path, done)
                continue
            results = [next(scored) for _ in done]
            windows = [(p, s) for (p, _), (s, _) in zip(done, results, strict=True)]
            rating = self._rating(path, digest, windows, self.context)
            seconds: dict[str, float] = {}
            for p, _ in done:
                add(seconds, p.seconds | {"model": share})
            rating.seconds = {k: round(v, 4) for k, v in seconds.items()}
            if explain:
                self._explain(rating, min(results, key=lambda r: r[0]["overall"].score)[1])
            yield rating

    def _score_batches(self, flat: list[Any], rows: int) -> Iterator[dict[str, ScoreDistribution]]:
        for i in range(0, len(flat), rows):
            yield from self.scorer.score(flat[i : i + rows], self.language)

    # ---- result -----------------------------------------------------------------------------------------------

    def _rating(
        self, path: str, digest: str, windows: list[tuple[Prepared, dict[str, ScoreDistribution]]], context: str
    ) -> Rating:
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
            evidence=[m for p, _ in windows for m in p.evidence] if len(windows) == 1 else worst_evidence(windows),
            context=first.context,
            media=first.info,
            warnings=warnings,
            inputs={"context": context, "windows": [p.views.notes for p, _ in windows]},
            fingerprint=self.fingerprint,
            content_hash=digest,
            language=self.language,
        )


def add(total: dict[str, float], part: dict[str, float]) -> None:
    for k, v in part.items():
        total[k] = total.get(k, 0.0) + v


def worst_evidence(windows: list[tuple[Prepared, Any]]) -> list[Any]:
    """Per measure the window where it is most severe; spans of all windows are joined."""
    from mllm_avqa.evidence.base import SEVERITIES

    best: dict[tuple[str, str], Any] = {}
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for p, _ in windows:
        for m in p.evidence:
            key = (m.modality, m.name)
            spans.setdefault(key, []).extend(m.spans)
            if key not in best or SEVERITIES.index(m.severity) > SEVERITIES.index(best[key].severity):
                best[key] = m
    return [m.model_copy(update={"spans": spans[k]}) for k, m in best.items()]


def pool_windows(scores: list[ScoreDistribution], worst: float) -> ScoreDistribution:
    """(1 - worst) x mean of the windows + worst x lowest window, on the whole distribution."""
    table = np.array([[s.probs[w] for w in WORDS] for s in scores])
    low = table[int(np.argmin([s.score for s in scores]))]
    return summarise((1 - worst) * table.mean(0) + worst * low, min(s.mass for s in scores))


def weights_hash(directory: Path) -> str:
    """Short sha256 over the weight files of a checkpoint directory, in name order."""
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
