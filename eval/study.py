"""What a study is: a class whose fields are its command line and its task in a suite.

A new study is one file in `eval/studies/` (docs/EVALUATION.md, "A new study"). `eval/command.py` makes the command
from the class, `command_line` what to type to repeat it.
"""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import typer
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from eval.stats import Number
from eval.writing import write_text
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    from mllm_avqa.rater import Rater

Context = Literal["none", "fast", "full"]
Language = Literal["en", "zh"]
Place = Literal["both", "command", "suite"]  # where a field can be given
SPLIT = "Split of the records; 'all' takes every clip."
LANG = "Languages; default: those of the checkpoint."
FEWER = "At most this many clips, evenly spread."
JSON = "Everything as JSON instead of tables."


# ---- fields ---------------------------------------------------------------------------------------------------------


def option(
    default: Any,
    help: str,
    *flags: str,
    place: Place = "both",
    needed: bool = False,
    metavar: str | None = None,
    **limits: Any,
) -> Any:
    """A field that is `--its-name` (or `flags`) on the command line. needed: the command cannot do without it.

    limits: what pydantic checks (ge, gt, le, lt).
    """  # fmt: skip
    told: Any = {"flags": flags, "place": place, "needed": needed, "metavar": metavar}
    return Field(default, description=help, json_schema_extra={"cli": told}, **limits)  # type: ignore[call-overload]


def argument(help: str, *, place: Place = "both", metavar: str | None = None) -> Any:
    """A field without a default that stands on the command line without a flag."""
    told: Any = {"argument": True, "place": place, "metavar": metavar}
    return Field(description=help, json_schema_extra={"cli": told})  # type: ignore[call-overload]


def told_of(info: FieldInfo) -> dict[str, Any]:
    """What `option` and `argument` said of a field; a plain field belongs to suites alone."""
    extra = info.json_schema_extra
    found = extra.get("cli") if isinstance(extra, dict) else None
    return dict(found) if isinstance(found, dict) else {"place": "suite"}


# ---- what is run ----------------------------------------------------------------------------------------------------


class Command(BaseModel):
    """Fields that are a command line, and what is done with them."""

    model_config = ConfigDict(extra="forbid")
    command: ClassVar[str] = ""  # name on the command line; "": there is none

    def main(self) -> int:
        """Do it; the exit code. Raises AvqaError."""
        raise ConfigError(f"{type(self).__name__} is no command")


@dataclass(frozen=True)
class Heading:
    """How a board shows the lines of a kind of task."""

    title: str
    headline: tuple[str, str, str]  # (table, what, column) of the overview
    lower: frozenset[str] = frozenset()  # columns where less is better
    plain: frozenset[str] = frozenset()  # columns that nobody wins
    counts: frozenset[str] = frozenset()  # columns of whole numbers
    gains: frozenset[str] = frozenset()  # columns that say by how much a checkpoint beats a baseline


class Line(BaseModel):
    """One line of the leaderboard: what somebody reached in one respect."""

    model_config = ConfigDict(extra="forbid")

    what: str  # aspect, question type, condition ...
    who: str  # checkpoint, or a name for a baseline
    values: dict[str, Number]  # by column; an interval is 95 % unless the column says otherwise
    n: int
    of: int | None = None  # clips or items there are, where some have no result
    table: str = ""  # several tables of one task have names
    baseline: bool = False
    beside: str = ""  # the one checkpoint that a baseline belongs to; "": it stands against all of them
    command: str = ""  # repeats the line


@dataclass
class Report:
    """What a command tells: text or JSON on stdout, notes and failures on stderr. partial: something has no result."""

    text: str
    data: str = ""
    notes: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    partial: bool = False


class Study(Command):
    """Numbers that somebody can ask for on the command line, in a suite, or both. Unknown keys are errors."""

    kind: ClassVar[str] = ""  # name in a suite; "": it is no task
    shown: ClassVar[Heading | None] = None
    in_suites: ClassVar[dict[str, Any]] = {}  # defaults that differ in a suite
    keyless: ClassVar[frozenset[str]] = frozenset({"name", "about", "notes", "records"})  # fields that change no result

    name: str = ""  # of the task
    version: str = "1"  # raised when anything below changes results
    about: str = ""
    notes: list[str] = Field(default_factory=list)  # told under its tables
    draws: int = Field(default=1000, ge=100)  # of the bootstrap
    as_json: bool = option(False, JSON, "--json", place="command")

    def run(self) -> Any:
        """The numbers. Raises AvqaError."""
        raise ConfigError(f"{type(self).__name__} has numbers on a board only")

    def report(self, found: Any) -> Report:
        """What the command tells of what `run` found; writes the files that were asked for. Raises OutputError."""
        raise ConfigError(f"{type(self).__name__} has numbers on a board only")

    def lines(self, bench: Any) -> Iterator[Line]:
        """The lines of one checkpoint on a board; `bench` is an `eval.board.bench.Bench`."""
        raise ConfigError(f"{type(self).__name__} is no task of a suite")

    def alone(self, bench: Any) -> Iterator[Line]:
        """Lines that belong to no checkpoint: what a model has to beat."""
        return iter(())

    def main(self) -> int:
        told = self.report(self.run())
        for note in told.notes:
            typer.echo(note, err=True)
        for name, why in told.failed.items():
            typer.echo(f"{name}: {why}", err=True)
        typer.echo(told.data if self.as_json else told.text)
        return int(told.partial or bool(told.failed))

    # ---- in a suite

    def resolve(self, root: Path) -> Self:
        """The same task with every path that starts from `root` made usable from here."""
        found: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Path):
                found[name] = root / value
            elif isinstance(value, dict) and value and all(isinstance(v, Path) for v in value.values()):
                found[name] = {k: root / v for k, v in value.items()}
            elif isinstance(value, tuple) and value and all(isinstance(v, Path) for v in value):
                found[name] = tuple(root / v for v in value)
        return self.model_copy(update=found)

    def files(self) -> list[Path]:
        """Files and folders that the task reads."""
        out: list[Path] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Path):
                out.append(value)
            elif isinstance(value, dict | tuple):
                out += [v for v in (value.values() if isinstance(value, dict) else value) if isinstance(v, Path)]
        return out

    def asked(self) -> dict[str, Any]:
        """The fields that a result depends on, as JSON."""
        fields = type(self).model_fields
        here = {name for name, info in fields.items() if told_of(info)["place"] == "command"}
        return {"kind": self.kind} | self.model_dump(mode="json", exclude=here | self.keyless)


class Loading(Command):
    """How a checkpoint is loaded: every command that needs one takes these."""

    threads: int | None = option(None, "CPU threads of the model.", ge=1, place="command")
    device: str | None = option(
        None, "cpu, cuda, cuda:1 ...; default: an accelerator if there is one.", place="command"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "float32", "Precision of the model; auto: by its size and the processor.", place="command"
    )
    four_bit: bool = option(False, "Language model in 4 bits (needs bitsandbytes).", place="command")

    def load(self, checkpoint: str, context: str) -> Rater:
        """Raises CheckpointError for a checkpoint that does not load."""
        from mllm_avqa.rater import Rater

        return Rater.from_pretrained(
            checkpoint, context=context, threads=self.threads, dtype=self.dtype, device=self.device,
            four_bit=self.four_bit,
        )  # fmt: skip

    @property
    def precision(self) -> list[str]:
        """What of it changes scores; empty for the usual way."""
        return [self.dtype] * (self.dtype != "float32") + ["nf4"] * self.four_bit


class Predicted(Study):
    """A study of scores that a board has of its checkpoints (`Bench.predict`)."""

    context: Context = "fast"
    language: Language = "en"


class Rated(Predicted, Loading):
    """A study that asks a checkpoint."""

    checkpoint: str = option("nano", "'nano' or a checkpoint directory.", place="command")
    context: Context = option("fast", "Text to look for.")
    chunk: int = option(8, "Clips held in memory at once.", ge=1, place="command")
    _rater: Rater | None = None

    @contextmanager
    def opened(self) -> Iterator[Rater]:
        """The rater of a board, which stays open, or else the checkpoint's, closed at the end."""
        if self._rater is not None:
            yield self._rater
            return
        made = self.load(self.checkpoint, self.context)
        try:
            yield made
        finally:
            made.close()

    def on(self, bench: Any, **more: Any) -> Self:
        """The study of a task as its command would do it, with the checkpoint, limits and language of a board."""
        shared = {"checkpoint": bench.given, "lang": (self.language,)}
        if "clips" in type(self).model_fields:
            shared["clips"] = bench.at_most(self.clips)  # type: ignore[attr-defined]
        shared = {k: v for k, v in shared.items() if k in type(self).model_fields}
        loading = {name: getattr(bench.settings, name) for name in (*Loading.model_fields, "chunk")}
        return self.model_copy(update=loading | shared | more)

    def with_rater(self, rater: Rater) -> Self:
        """The same study on a rater that is open already and has its context."""
        made = self.model_copy()
        made._rater = rater
        return made


class Recorded(Rated):
    """A study of the clips of a record file."""

    records: Path = argument("Record file (.jsonl) with held-out clips.")
    split: str = option("test", SPLIT)
    lang: tuple[Language, ...] = option((), LANG, place="command")


def save(output: Path, text: str) -> None:
    """Write what --output asks for. Raises OutputError."""
    write_text(output, text + "\n")


# ---- from a study to its command line -------------------------------------------------------------------------------


def command_fields(kind: type[Command]) -> list[str]:
    """Names of the fields that a command has: those of the class itself first, those of its bases after them."""
    order = [n for c in kind.__mro__ if issubclass(c, Command) for n in inspect.get_annotations(c)]
    return [
        n for n in dict.fromkeys(order)
        if n in kind.model_fields and told_of(kind.model_fields[n])["place"] != "suite"
    ]  # fmt: skip


def flags(name: str, info: FieldInfo) -> Sequence[str]:
    cli = told_of(info)
    if cli.get("argument"):
        return [cli.get("metavar") or name.upper()]
    return cli.get("flags") or [f"--{name.replace('_', '-')}"]


def shell(*arguments: object) -> str:
    """A command of this room, its paths as seen from the working folder where they are inside it."""
    return "python -m eval " + " ".join(shlex.quote(shown(a) if isinstance(a, Path) else str(a)) for a in arguments)


def shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def command_line(made: Command, *leave: str) -> str:
    """What to type for it. leave: fields that are told by other means, or not at all."""
    fixed: list[object] = []
    found: list[object] = []
    for name in command_fields(type(made)):
        info, value = type(made).model_fields[name], getattr(made, name)
        if name in leave or value is None or value == ():
            continue
        if told_of(info).get("argument"):
            fixed += value if isinstance(value, tuple) else [value]
            continue
        flag = flags(name, info)[0].partition("/")
        if isinstance(value, bool):
            found += [flag[0] if value else flag[2]] if value != info.default else []
        elif value != info.default or name in ("checkpoint", "split"):
            several = isinstance(value, tuple) and get_args(info.annotation)[-1] is Ellipsis
            for v in value if several else (value,):
                found += [flag[0], *(v if isinstance(v, tuple) else [v])]
    return shell(made.command, *fixed, *found)
