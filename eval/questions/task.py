"""`Task`, one YAML file per benchmark; `Item`, one question of it; and how it is put, in every order of its options."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mllm_avqa.model.prompting import laid_out, load_prompts
from mllm_avqa.schema.errors import ConfigError

FOLDER = Path(__file__).parent.parent / "tasks"
Aspect = Literal["overall", "video", "audio", "sync", "text"]
Direction = Literal["better", "worse"]
Readout = Literal["logprob", "mean", "generate"]
READOUTS: dict[Readout, str] = {
    "logprob": "log-probability, of the letter or of a whole answer without letters",
    "mean": "mean log-probability over the answer's tokens",
    "generate": "a written answer, read strictly",
}

LEFT_OUT = {"missing": "media missing", "failed": "media failed", "unsupported": "not supported"}  # statuses, in words


class Fields(BaseModel):
    """Names of the columns of the data file."""

    model_config = ConfigDict(extra="forbid")

    media: str = "media"
    id: str | None = None  # None: the row's number
    question: str | None = None
    options: str | None = None
    right: str | None = None  # text, letter or index of the right option
    reference: str | None = None  # of an open answer
    score: str | None = None  # mean opinion score


class TaskGroup(BaseModel):
    """A column to report by, with names for its codes."""

    model_config = ConfigDict(extra="forbid")

    field: str
    names: dict[int | str, str] = {}


class Task(BaseModel):
    """A benchmark. Unknown keys are errors: a task must not mean more than is done."""

    model_config = ConfigDict(extra="forbid")

    name: str
    version: str  # raised when anything below changes results
    about: str
    source: str
    licence: str
    reader: Literal["rows", "folder", "qbench_video", "av_bench"] = "rows"  # function in eval/questions/readers.py
    fields: Fields = Fields()
    groups: dict[str, TaskGroup] = {}
    language: Literal["en", "zh"] = "en"
    aspect: Aspect = "overall"  # what of the clip an answer may look at
    ask: Literal["items", "describe", "rate"] = "items"  # questions of the data, or one for all from prompts/bench.*
    form: str = "qbench"  # how options are listed: a key of `forms` in prompts/bench.*
    plain: list[str] = []  # types of question asked without listing the options
    temperature: float = 100.0  # of ask: rate
    tie: float = 0.0  # points of 5: scores nearer than this are "the same" where that is an option
    judge: list[str] = []  # rubrics for open answers
    higher_is_better: bool = True  # of the mean opinion scores
    notes: list[str] = []  # told under every table


@dataclass(frozen=True)
class TaskItem:
    """One question. Without options it is open (or a score to predict)."""

    id: str
    media: tuple[str, ...]  # relative to the media folder; two of a pair
    question: str = ""
    options: tuple[str, ...] = ()
    right: int | None = None  # None: the key is withheld, or there is none
    reference: str | None = None
    score: float | None = None
    groups: dict[str, str] = field(default_factory=dict)
    aspect: Aspect = "overall"
    language: Literal["en", "zh"] = "en"
    context: dict[str, str] = field(default_factory=dict)
    spans: tuple[tuple[float, float] | None, ...] = (None,)  # seconds, per file
    compare: Direction | None = None  # which clip of a pair is asked for


def names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def load_task(name: str) -> Task:
    """A task by name, or by the path of a YAML file. Raises ConfigError when there is none or it is not a task."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"task {name!r} is neither one of {', '.join(names())} nor a YAML file (TASK)")
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Task.model_validate(data)
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: {e}") from e
    except ValidationError as e:
        first = e.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from e


Side = Literal["first", "second", "same"]


@dataclass(frozen=True)
class AskedItem:
    """A question in one order of its options; place k shows option order[k]."""

    aspect: str
    text: str
    answers: tuple[str, ...]  # what the model would say, by place
    options: tuple[str, ...]  # bare texts, by place
    order: tuple[int, ...]
    lettered: bool  # options were shown with letters


def ask(item: TaskItem, task: Task, shuffles: int) -> list[AskedItem]:
    """The item in up to `shuffles` orders: as given, then rotated, so that n orders put each option at every place.

    A question that does not list its options has one order. Raises ConfigError for a form that does not exist.
    """
    words = load_prompts("bench", item.language)
    name = "plain" if item.groups.get("type") in task.plain else task.form
    if name not in words["forms"]:
        raise ConfigError(f"task {task.name}: form {name!r} is not one of {', '.join(words['forms'])}")
    form, letters, n = words["forms"][name], words["letters"], len(item.options)
    if n > len(letters):
        raise ConfigError(f"item {item.id}: {n} options, at most {len(letters)} (--data)")
    out = []
    listed_in = "{options}" in form["ask"]
    for turn in range(min(shuffles, n) if listed_in else 1):
        order = tuple((k + turn) % n for k in range(n))
        options = tuple(item.options[o] for o in order)
        text, answers = laid_out(name, item.question, options, item.language)
        out.append(AskedItem(item.aspect, text, answers, options, order, listed_in and "{letter}" in form["option"]))
    return out


def sides(item: TaskItem) -> dict[Side, int] | None:
    """Which option of a comparison means the first clip, the second, or no difference; None unless both are named."""
    words = load_prompts("bench", item.language)["pair"]
    out: dict[Side, int] = {}
    for k, option in enumerate(item.options):
        kinds: list[Side] = [s for s in ("first", "second", "same") if re.search(words[s], option.lower())]
        if len(kinds) != 1 or kinds[0] in out:
            return None
        out[kinds[0]] = k
    return out if "first" in out and "second" in out else None
