"""`Record`: one JSONL line per clip, the only thing that recipes, training and evaluation share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mllm_avqa.errors import ConfigError
from mllm_avqa.evidence.base import Modality

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


class Distortion(BaseModel):
    """A fault of known kind, level (1 just noticeable .. 5 severe) and time span in seconds."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    modality: Modality
    level: int
    start: float
    end: float
    parameters: dict[str, float | str] = {}


class Question(BaseModel):
    """A question with its answer in one language; `soft` carries the level target of a score question."""

    model_config = ConfigDict(extra="forbid")

    stage: Literal[1, 2, 3]
    task: str  # template family in prompts/, e.g. "kind", "severity", "when", "level", "describe"
    aspect: str | None = None  # which part of the clip it is about: decides what the answer may look at
    language: Literal["en", "zh"] = "en"
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

    @property
    def contents(self) -> list[str]:
        """The contents in the clip: a picture with borrowed sound has two, and its group joins their names with `+`."""
        return self.group.split("+")


def read_records(path: str | Path) -> Iterator[Record]:
    """Stream records from a JSONL file. Raises ConfigError with file and line for a line that is not a record."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"record file {path} does not exist")
    with path.open(encoding="utf-8-sig") as f:
        for number, line in enumerate(f, 1):
            if line.strip():
                try:
                    yield Record.model_validate_json(line)
                except ValidationError as e:
                    first = e.errors()[0]
                    where = ".".join(str(x) for x in first["loc"])
                    raise ConfigError(f"{path}:{number}: not a record: {where}: {first['msg']}") from e


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write records as JSONL through a temporary file (a reader never sees half of it). Returns their number."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    n = 0
    with part.open("w", encoding="utf-8") as f:
        for record in records:
            f.write(json.dumps(record.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n")
            n += 1
    part.replace(path)
    return n
