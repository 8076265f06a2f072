"""A suite file as a `Suite` and its tasks, and what comes of it (`Result`, `Board`); slips are named with line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from eval.studies import kind, nearest
from eval.study import Line, Study, told_of
from mllm_avqa.schema.errors import ConfigError


class _SuiteModel(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Suite(_SuiteModel):
    name: str
    version: str = "1"
    about: str = ""
    root: Path = Path()  # folder that paths start from, relative to the suite file
    made_by: list[str] = []  # commands that make the data
    notes: list[str] = []
    tasks: list[Any]  # read by the kind that each names


class Result(_SuiteModel):
    """A task's lines, what should be known of them, and who has none, with the reason."""

    kind: str
    task: str
    version: str
    about: str
    notes: list[str] = []
    lines: list[Line] = []
    failed: dict[str, str] = {}  # who -> why
    lost: dict[str, list[str]] = {}  # who -> clips or items without a result, with their reasons


class Board(_SuiteModel):
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


M = TypeVar("M", bound=BaseModel)


def read_suite(path: Path, only: Sequence[str] = ()) -> tuple[Suite, list[Study]]:
    """A suite and its tasks, their paths usable from the working folder. A task may be the name of a file of its own.

    only: names of the tasks wanted. Raises ConfigError with file and line.
    """
    data, node = _load(path)
    suite = _valid(Suite, data, path, node)
    root = path.parent / suite.root
    tasks: list[Study] = []
    for n, entry in enumerate(suite.tasks):
        where, place, base = path, _at(node, ["tasks", n]), root
        if isinstance(entry, str):
            where = root / entry
            entry, place = _load(where)
            base = where.parent
        if not isinstance(entry, dict) or "kind" not in entry:
            raise ConfigError(f"{where}{_line(place)}: a task is a mapping with a `kind`, or the name of such a file")
        try:
            model = kind(str(entry["kind"]))
        except ConfigError as e:
            raise ConfigError(f"{where}{_line(_at(place, ['kind']))}: {e}") from e
        tasks.append(_task(model, entry, where, place).resolve(base))
    names = [t.name for t in tasks]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice or not names:
        raise ConfigError(f"{path}: " + (f"two tasks are named {twice[0]!r}" if twice else "no tasks"))
    for name in only:
        if name not in names:
            raise ConfigError(f"--only {name!r}: no such task in {path}{nearest(name, names)}")
    return suite, [t for t in tasks if not only or t.name in only]


def _task(model: type[Study], entry: dict[str, Any], where: Path, place: yaml.Node | None) -> Study:
    """What a suite may not say, since its run says it (the checkpoint, the output), is as unknown as a slip."""
    allowed = {n for n, info in model.model_fields.items() if told_of(info)["place"] != "command"}
    allowed |= {str(info.alias) for info in model.model_fields.values() if info.alias}
    given = {str(k): v for k, v in entry.items() if k != "kind"}
    for name in given:
        if name not in allowed:
            raise ConfigError(f"{where}{_line(_at(place, [name]))}: {name}: unknown key{nearest(name, allowed)}")
    if not given.get("name"):
        raise ConfigError(f"{where}{_line(place)}: a task needs a `name`")
    return _valid(model, model.in_suites | given, where, place)


def _load(path: Path) -> tuple[Any, yaml.Node | None]:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist (SUITE)")
    text = path.read_text(encoding="utf-8-sig")
    try:
        return yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: not YAML: {e}") from e


def _valid(model: type[M], data: Any, path: Path, node: yaml.Node | None) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as e:
        first = min(e.errors(), key=lambda x: x["type"] != "extra_forbidden")  # a slip of the pen explains the others
        loc = list(first["loc"])
        why = str(first["msg"])
        if first["type"] == "extra_forbidden":
            why = f"unknown key{nearest(str(loc[-1]), model.model_fields)}"
        raise ConfigError(f"{path}{_line(_at(node, loc))}: {'.'.join(map(str, loc)) or 'suite'}: {why}") from e


def _at(node: yaml.Node | None, loc: Sequence[str | int]) -> yaml.Node | None:
    """The key or the entry that `loc` leads to, as far as it exists."""
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if pair is None:
                return node
            node = pair[0] if step == loc[-1] else pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
    return node


def _line(node: yaml.Node | None) -> str:
    return "" if node is None else f":{node.start_mark.line + 1}"
