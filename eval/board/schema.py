"""What a suite file says (`Suite`) and what comes of it (`Result`, `Board`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from eval.study import Line


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Suite(_Strict):
    name: str
    version: str = "1"
    about: str = ""
    root: Path = Path()  # folder that paths start from, relative to the suite file
    made_by: list[str] = []  # commands that make the data
    notes: list[str] = []
    tasks: list[Any]  # read by the kind that each names


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
