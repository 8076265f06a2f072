"""`Record`: one JSONL line per clip, the only thing that recipes, training and evaluation share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from mllm_avqa.schema.files import read_models, write_models
from mllm_avqa.schema.levels import WORDS, Scale, soft_target, sos_std
from mllm_avqa.schema.names import Language, Side

Split = Literal["train", "val", "test"]


class Label(BaseModel):
    """A subjective (or pseudo) score of one aspect on its source's native scale."""

    model_config = ConfigDict(extra="forbid")

    mean: float
    std: float | None = None
    votes: list[float] | None = None  # counts or fractions per level, bad..excellent (1..5)
    scale: tuple[float, float] = (1.0, 5.0)  # nominal minimum and maximum of the study, not of the data
    higher_is_better: bool = True
    pseudo: bool = False  # computed from a recipe, not voted by people

    @field_validator("votes")
    @classmethod
    def _five_levels(cls, votes: list[float] | None) -> list[float] | None:
        if votes is not None and (len(votes) != len(WORDS) or min(votes) < 0):
            raise ValueError(
                f"votes {votes} are no counts of {len(WORDS)} levels, bad to excellent: give mean and std of a study "
                "with other levels, and no votes"
            )
        return votes

    @property
    def native(self) -> Scale:
        """The study's scale with its direction. Raises ConfigError for an empty one."""
        return Scale(*self.scale, self.higher_is_better)

    @property
    def mean_five(self) -> float:
        """The mean on 1-5, higher better; outside them where it lies outside the study's nominal scale."""
        return self.native.to_five(self.mean)

    @property
    def std_five(self) -> float:
        """Standard deviation of the votes on 1-5; that of the SOS hypothesis where the study gives none."""
        return sos_std(self.score) if self.std is None else self.native.std_to_five(self.std)

    @property
    def score(self) -> float:
        """`mean_five`, kept within 1-5: what a model can be taught."""
        return min(5.0, max(1.0, self.mean_five))

    def levels(self) -> np.ndarray:
        """Level distribution, float64 [5], order of `levels.WORDS`: the votes as they are, else `soft_target`."""
        if self.votes is not None and sum(self.votes) > 0:
            worst_first = self.votes if self.higher_is_better else self.votes[::-1]
            return np.array(worst_first[::-1], float) / sum(self.votes)
        return np.array(_soft(self.score, self.std_five))


@lru_cache(maxsize=4096)  # labels repeat, and the max-entropy target has to be searched for
def _soft(mean: float, std: float) -> tuple[float, ...]:
    return tuple(soft_target(mean, std).tolist())


class Distortion(BaseModel):
    """A fault of known kind, level (1 just noticeable .. 5 severe) and time span in seconds."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    modality: Side
    level: int
    start: float
    end: float
    parameters: dict[str, float | str] = {}


class Question(BaseModel):
    """A question with its answer in one language; `soft` carries the level target of a score question."""

    model_config = ConfigDict(extra="forbid")

    stage: Literal[1, 2, 3]  # its depth: 1 perceives, 2 rates, 3 explains; no stage of training
    task: str  # template family in prompts/, e.g. "kind", "severity", "when", "level", "describe"
    aspect: str | None = None  # which part of the clip it is about: decides what the answer may look at
    language: Language = "en"
    question: str
    answer: str
    options: list[str] | None = None
    soft: list[float] | None = None  # fractions per level, excellent..bad (order of `levels.WORDS`)
    other: str | None = None  # id of the record that is the second clip of a comparison
    context: dict[str, str] | None = None  # texts shown with this question instead of the record's
    time_span: tuple[float, float] | None = None  # seconds of the clip it is about; None = all of it


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    media: str  # path relative to the record file
    start: float | None = None  # seconds; None = whole file
    end: float | None = None
    dataset: str
    group: str  # reference content: everything made from one source shares it, splits never cut through it
    split: Split | None = None
    folds: list[Split] = []  # the same for repeated evaluation: the record's part in split 0, 1, ...
    labels: dict[str, Label] = {}  # by aspect: overall, video, audio, sync, text
    distortions: list[Distortion] = []
    context: dict[str, str] = {}  # texts given with the clip, by origin ("user", ...)
    questions: list[Question] = []
    description: str | None = None
    licence: str | None = None

    def asked(self, stage: int, language: str, task: str | None = None) -> list[Question]:
        """Its questions of a stage in a language, in their order; of one task, or of all."""
        own = (q for q in self.questions if q.stage == stage and q.language == language)
        return [q for q in own if task in (None, q.task)]

    @property
    def contents(self) -> list[str]:
        """The contents in the clip: a picture with borrowed sound has two, and its group joins their names with `+`."""
        return self.group.split("+")


def read_records(path: str | Path) -> Iterator[Record]:
    """Stream records from a JSONL file. Raises ConfigError with file and line for a line that is not a record."""
    return read_models(path, Record, "a record", "record file")


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write records as JSONL through a temporary file (a reader never sees half of it). Returns their number."""
    return write_models(path, records)


def relocation(source: str | Path, target: str | Path, absolute: bool | None = None) -> Callable[[str], str]:
    """How a media path in a file of folder `source` has to be written in a file of folder `target`.

    absolute: None keeps absolute paths as they are, False makes them relative like the others, True makes every path
    absolute. Within one folder paths stay as they are, unless True. Both folders are taken as the system finds them:
    `..` in a path counts from the folder that a link leads to.
    """
    here, there = Path(source).resolve(), Path(target).resolve()

    def place(media: str) -> str:
        if absolute:
            return os.path.abspath(here / media)
        if here == there or (absolute is None and os.path.isabs(media)):
            return media
        return Path(os.path.relpath(here / media, there)).as_posix()

    return place
