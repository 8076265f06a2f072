"""Encoded clips for questions: every file of the items once, whatever number of questions it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eval.held_out import HeldOut, Judge, chunks
from eval.questions.log import digest
from eval.questions.task import Item
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.rater import Rater, pool_windows
from mllm_avqa.schema.rating import ScoreDistribution
from mllm_avqa.schema.records import Record

CHUNK = 8  # clips decoded ahead


@dataclass(frozen=True)
class ClipKey:
    """What makes two questions share a prefix."""

    media: str
    span: tuple[float, float] | None
    context: tuple[tuple[str, str], ...]
    language: str

    @cached_property
    def name(self) -> str:
        """Unique among keys, and readable in messages."""
        span = "" if self.span is None else f" {self.span[0]}-{self.span[1]} s"
        return f"{self.media}{span} {self.language}" + (f" {digest(self.context)}" if self.context else "")

    @cached_property
    def record(self) -> Record:
        start, end = self.span or (None, None)
        return Record(
            id=self.name, media=self.media, start=start, end=end, dataset="bench", group="bench",
            context=dict(self.context),
        )  # fmt: skip


def clip_keys(item: Item) -> list[ClipKey]:
    context = tuple(sorted(item.context.items()))
    return [ClipKey(m, s, context, item.language) for m, s in zip(item.media, item.spans, strict=True)]


@dataclass
class Encoded:
    """All windows of a clip, each with its prefix held, and the clip's pooled scores."""

    windows: list[EncodedClip]
    window_scores: list[dict[str, ScoreDistribution]]
    scores: dict[str, ScoreDistribution]

    @property
    def worst(self) -> EncodedClip:
        """The window with the lowest overall score: the one that written answers look at, as in chat."""
        lowest = min(range(len(self.windows)), key=lambda k: self.window_scores[k]["overall"].score)
        return self.windows[lowest]


def encoded_clips(
    keys: Sequence[ClipKey], base: Path, rater: Rater, failures: dict[ClipKey, str]
) -> Iterator[tuple[ClipKey, Encoded]]:
    """Encode files one after the other, decoding ahead. A file that fails is noted with its reason, not yielded."""
    by_id = {k.name: k for k in keys}
    judge = Judge(rater)
    noted: dict[str, str] = {}
    for chunk in chunks([k.record for k in keys], base, rater, CHUNK, noted):
        for held in chunk:
            key = by_id[held.record.id]
            yield key, encode(held, judge, key.language)
            held.windows.clear()
        judge.forget()
    failures.update({by_id[i]: why for i, why in noted.items()})


def encode(held: HeldOut, judge: Judge, language: str) -> Encoded:
    rater = judge.rater
    done = [rater.scorer.encode(*judge.encode(p, language), language) for p in held.windows]
    parts = [s for s, _ in done]
    aspects = dict.fromkeys(a for s in parts for a in s)
    pooled = {a: pool_windows([s[a] for s in parts if a in s], rater.card.pooling.worst) for a in aspects}
    return Encoded([c for _, c in done], parts, pooled)
