"""What a suite file says (`Suite`, `Task`) and what comes of it (`Line`, `Board`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from eval.stats import Number


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Task(_Strict):
    """One benchmark. Kinds add their own fields; unknown keys are errors."""

    kind: str
    name: str
    version: str = "1"  # raised when anything below changes results
    about: str = ""
    notes: list[str] = []  # told under its tables
    context: Literal["none", "fast", "full"] = "fast"  # text to look for in a clip
    language: Literal["en", "zh"] = "en"
    draws: int = Field(default=1000, ge=100)  # of the bootstrap

    def resolve(self, root: Path) -> Task:
        """The same task with every path that starts from `root` made usable from here."""
        found: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Path):
                found[name] = root / value
            elif isinstance(value, dict) and value and all(isinstance(v, Path) for v in value.values()):
                found[name] = {k: root / v for k, v in value.items()}
        return self.model_copy(update=found)

    def files(self) -> list[Path]:
        """Files and folders that the task reads."""
        out: list[Path] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Path):
                out.append(value)
            elif isinstance(value, dict):
                out += [v for v in value.values() if isinstance(v, Path)]
        return out


class Suite(_Strict):
    name: str
    version: str = "1"
    about: str = ""
    root: Path = Path()  # folder that paths start from, relative to the suite file
    made_by: list[str] = []  # commands that make the data
    notes: list[str] = []
    tasks: list[Any]  # read by the kind that each names


class Line(_Strict):
    """One line of the leaderboard: what somebody reached in one respect."""

    what: str  # aspect, question type, condition ...
    who: str  # checkpoint, or a name for a baseline
    values: dict[str, Number]  # by column; an interval is 95 % unless the column says otherwise
    n: int
    of: int | None = None  # clips or items there are, where some have no result
    table: str = ""  # several tables of one task have names
    baseline: bool = False
    beside: str = ""  # the one checkpoint that a baseline belongs to; "": it stands against all of them
    command: str = ""  # repeats the line


class Result(_Strict):
    """A task's lines, what should be known of them, and who has none, with the reason."""

    kind: str
    task: str
    version: str
    about: str
    notes: list[str] = []
    lines: list[Line] = []
    failed: dict[str, str] = {}  # who -> why
    lost: dict[str, list[str]] = {}  # who -> clips or items without a result, with their reasons


class Board(_Strict):
    suite: str
    version: str
    about: str
    notes: list[str]
    made_by: list[str]
    checkpoints: dict[str, str]  # name -> weights hash, or why it could not be opened
    command: str
    machine: dict[str, Any]
    seconds: dict[str, float]  # all, model
    results: list[Result]
    done: bool = True  # False: some task, checkpoint or clip has no result
