"""Encoded clips for questions: every file of the items once, whatever number of questions it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eval.held_out import Judge, chunks
from eval.questions.task import Item
from eval.store import digest
from mllm_avqa.corridor import EncodedFile
from mllm_avqa.rater import Rater
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


def encoded_clips(
    keys: Sequence[ClipKey], base: Path, rater: Rater, failures: dict[ClipKey, str]
) -> Iterator[tuple[ClipKey, EncodedFile]]:
    """Encode files one after the other, decoding ahead. A file that fails is noted with its reason, not yielded."""
    by_id = {k.name: k for k in keys}
    judge = Judge(rater)
    noted: dict[str, str] = {}
    for chunk in chunks([k.record for k in keys], base, rater, CHUNK, noted):
        for held in chunk:
            key = by_id[held.record.id]
            yield key, judge.hold(held, key.language)
            held.windows.clear()
        judge.forget()
    failures.update({by_id[i]: why for i, why in noted.items()})
