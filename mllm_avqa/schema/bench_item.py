"""`BenchItem`: one JSONL line per multiple-choice question of the audio-video question bench."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mllm_avqa.schema.files import read_models, write_models
from mllm_avqa.schema.names import Aspect, Language

QuestionType = Literal["yes-no", "what", "how", "when", "where", "compare"]
# fault: of the whole clip; local-fault: of a part of it; quality: a level or a comparison of clips;
# context: a level beside a text that tries to move it
Concern = Literal["fault", "local-fault", "quality", "context"]


class BenchItem(BaseModel):
    """A question with one right option, on one clip or two.

    Question types and concerns extend those of Q-Bench (yes-no, what, how; distortion, in-context distortion) to
    sound, time and place.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    media: str  # path relative to the bench file
    media_b: str | None = None  # the second clip of a comparison
    question: str
    options: list[str] = Field(min_length=2)  # as offered, without letters
    correct: int = Field(ge=0)  # index in options
    question_type: QuestionType
    modality: Aspect
    concern: Concern
    context: dict[str, str] = {}  # texts given with the clip, by origin
    time_span: tuple[float, float] | None = None  # seconds of `media` that are the clip; None = whole file
    time_span_b: tuple[float, float] | None = None
    language: Language = "en"
    source: str  # dataset and record the question was made from
    licence: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> BenchItem:
        if self.correct >= len(self.options):
            raise ValueError(f"correct is {self.correct}, there are {len(self.options)} options")
        if len(set(self.options)) < len(self.options):
            raise ValueError(f"two options are equal: {self.options}")
        return self


def read_bench(path: str | Path) -> Iterator[BenchItem]:
    """Stream items from a JSONL file. Raises ConfigError with file and line for a line that is not an item."""
    return read_models(path, BenchItem, "a bench item", "bench file")


def write_bench(path: str | Path, items: Iterable[BenchItem]) -> int:
    """Write items as JSONL through a temporary file (a reader never sees half of it). Returns their number."""
    return write_models(path, items)
