"""What the commands share: options of the rater, a console on stderr, errors in one line, progress, talk of `chat`."""

from __future__ import annotations

import inspect
import io
import logging
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TextIO, TypeVar, cast, get_type_hints

import typer

from mllm_avqa.batch.settings import JsonLines, json_handler, json_wanted, log_as_json, read_config
from mllm_avqa.batch.stopping import Stopped
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import AvqaError, CheckpointError, ConfigError, ContextUnavailable, OutputError
from mllm_avqa.schema.names import WITHHELD, ContextLevel, Language

if TYPE_CHECKING:
    from rich.console import Console

    from mllm_avqa.rater import Rater
    from mllm_avqa.schema.rating import Rating

C = TypeVar("C", bound=Callable[..., None])
_LIMITS = Limits()
WRONG_USAGE = (ConfigError, CheckpointError, OutputError, ContextUnavailable)  # exit code 2


@dataclass(frozen=True)
class RaterOptions:
    """How a rater is opened, and its options on the command line; `flattened` puts them into a command."""

    context: Annotated[
        ContextLevel,
        typer.Option(
            help="Text to look for: none; fast = metadata and subtitles; full = also on-screen text and speech."
        ),
    ] = "fast"
    lang: Annotated[Language, typer.Option(help="Language of explanation and report.")] = "en"
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory (with avqa.yaml).")] = "nano"
    reader: Annotated[Literal["pyav", "decord"], typer.Option(help="Library that decodes.")] = "pyav"
    asr: Annotated[str | None, typer.Option(help="Whisper checkpoint for --context full: file, folder or name.")] = None
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...; default: an accelerator if there is one.")
    ] = None
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Precision of the model; auto: bfloat16 for large ones, where the processor multiplies it."),
    ] = "auto"
    four_bit: Annotated[bool, typer.Option("--four-bit", help="Language model in 4 bits (needs bitsandbytes).")] = False
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Load weights that are no safetensors too.")] = (
        False
    )
    without: Annotated[
        list[str] | None,
        typer.Option(help=f"Keep the model from a part: {', '.join(WITHHELD)}; repeatable. Shows what scores rest on."),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(callback=read_config, is_eager=True, help="TOML file with defaults: for all, or by [command]."),
    ] = None
    log_json: Annotated[
        bool, typer.Option("--log-json", callback=log_as_json, is_eager=True, help="Messages as a JSON object a line.")
    ] = False
    free_text: Annotated[
        bool, typer.Option("--free-text", help="Explanations in the model's own words; its claims are checked.")
    ] = False
    full_pass: Annotated[
        bool, typer.Option("--full-pass/--no-full-pass", help="Measure all of every file, beside the windows rated.")
    ] = True
    windows: Annotated[
        str, typer.Option(help="Windows of a file that the model looks at: a number, all, or auto (the card's).")
    ] = "auto"
    hop: Annotated[float | None, typer.Option(help="Seconds from one window's start to the next.")] = None
    max_pass_seconds: Annotated[float, typer.Option(min=0.1, help="Wall time for measuring all of a file.")] = (
        _LIMITS.max_pass_seconds
    )
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Wall time for decoding one window.")] = (
        _LIMITS.max_seconds
    )
    max_pixels: Annotated[int, typer.Option(min=1, help="Width x height of a frame.")] = _LIMITS.max_pixels
    max_memory_mb: Annotated[int, typer.Option(min=64, help="Memory of the decoding process, MB.")] = (
        _LIMITS.max_memory_mb
    )
    max_duration: Annotated[float, typer.Option(min=0.1, help="Seconds of media.")] = _LIMITS.max_duration
    max_bytes: Annotated[int, typer.Option(min=1, help="Size of a file.")] = _LIMITS.max_bytes
    max_hash_seconds: Annotated[float, typer.Option(min=0.1, help="Wall time for reading a file's bytes.")] = (
        _LIMITS.max_hash_seconds
    )
    max_sidecars: Annotated[int, typer.Option(min=0, help="Subtitle files beside a clip.")] = _LIMITS.max_sidecars
    max_frames: Annotated[int, typer.Option(min=1, help="Frames of an animated picture.")] = _LIMITS.max_frames
    max_frame_bytes: Annotated[
        int, typer.Option(min=2**20, help="Bytes of a window's pictures; larger ones are judged scaled down.")
    ] = _LIMITS.max_frame_bytes
    max_sidecar_bytes: Annotated[int, typer.Option(min=0, help="Bytes of them in all.")] = _LIMITS.max_sidecar_bytes

    @property
    def limits(self) -> Limits:
        return Limits(**{name: value for name, value in vars(self).items() if name.startswith("max_")})

    def load(self) -> Rater:
        from mllm_avqa.rater import Rater

        return Rater.from_pretrained(
            self.checkpoint, asr=self.asr, threads=self.threads, device=self.device, dtype=self.dtype,
            four_bit=self.four_bit, allow_pickle=self.allow_pickle, free_text=self.free_text or None, **self._looked,
        )  # fmt: skip

    def load_beside_engine(self) -> Rater:
        """What reads clips and writes ratings where an engine holds the model."""
        from mllm_avqa.context.asr import load_asr
        from mllm_avqa.rater import Rater

        return Rater.for_engine(self.checkpoint, asr=load_asr(self.asr) if self.asr else None, **self._looked)

    @property
    def _looked(self) -> dict[str, Any]:
        """How clips are read and ratings written, whoever holds the model."""
        return {
            "reader": self.reader, "limits": self.limits, "context": self.context, "language": self.lang,
            "without": self.without or (), "full_pass": self.full_pass, "hop": self.hop,
            "windows": int(self.windows) if self.windows.isdecimal() else self.windows,
        }  # fmt: skip

    @property
    def settings(self) -> dict[str, str]:
        """What of it changes a row and is not said by the checkpoint."""
        asr = Path(self.asr).name if self.asr else "none"
        told = {"context": self.context, "lang": self.lang, "reader": self.reader, "asr": asr}
        if self.without:
            told["without"] = ",".join(sorted(self.without))
        if self.free_text:
            told["text"] = "free"
        looked = {"pass": None if self.full_pass else "no", "hop": self.hop}
        looked["windows"] = None if self.windows == "auto" else self.windows
        return told | {k: str(v) for k, v in looked.items() if v is not None}


def flattened(command: C) -> C:
    """A command that takes a dataclass of options, as one that takes its fields: what typer can read."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    groups: dict[str, Any] = {name: hints[name] for name in signature.parameters if is_dataclass(hints[name])}
    parameters: list[inspect.Parameter] = []
    for name, p in signature.parameters.items():
        if name not in groups:
            parameters.append(p.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        own = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=own[f.name])
            for f in fields(groups[name])
        ]

    def call(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{f.name: given.pop(f.name) for f in fields(kind)})
        command(**given)

    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return cast(C, call)


@contextmanager
def reported(debug: bool) -> Iterator[Console]:
    """A console on stderr. Inside, what libraries print goes there too; errors become one line and an exit code.

    What anything writes to stderr is text of strangers to a terminal: control characters become a visible mark.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    stderr = sys.stderr.whole if isinstance(sys.stderr, Shown) else sys.stderr
    handler: logging.Handler
    if json_wanted():
        console = Console(
            file=cast(TextIO, JsonLines(stderr)), highlight=False, soft_wrap=True, markup=False, emoji=False
        )
        shown, handler = Shown(cast(TextIO, console.file)), json_handler(stderr)
    else:
        console = Console(file=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
        shown = Shown(stderr, console)
        handler = RichHandler(console=console, show_time=debug, show_path=debug, markup=False)
        handler.setFormatter(_Visible("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler])
    if not debug:
        sys.excepthook = _one_line
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            yield console
    except AvqaError as e:
        if debug:
            traceback.print_exc(file=shown)
        console.print(f"error: {one_line(e)}")
        raise typer.Exit(2 if isinstance(e, WRONG_USAGE) else 1) from None
    except (Stopped, KeyboardInterrupt) as e:
        console.print("stopped")
        raise typer.Exit(128 + getattr(e, "signum", signal.SIGINT)) from None


def one_line(text: object) -> str:
    """Text of strangers for one line of a terminal."""
    from mllm_avqa.report.labels import visible

    return visible(" ".join(str(text).split()))


class Shown(io.TextIOBase):
    """Stands before a stream: control characters of what is written arrive as a visible mark.

    console: on the same stream, where its progress bar makes room for what is printed.
    """

    def __init__(self, stream: TextIO, console: Console | None = None) -> None:
        self.whole, self._console = stream, console

    def write(self, text: str) -> int:
        from mllm_avqa.report.labels import visible

        if not isinstance(text, str):
            raise TypeError("text is written here, no bytes")  # Click tries which of them a stream takes
        if self._console is not None and self._console.is_terminal:
            self._console.print(visible(text), end="")
        else:
            self.whole.write(visible(text))
        return len(text)

    def flush(self) -> None:
        self.whole.flush()

    def isatty(self) -> bool:
        return False  # a library that draws bars is not drawn to here

    def fileno(self) -> int:
        return self.whole.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.whole.encoding


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        from mllm_avqa.report.labels import visible

        return visible(super().format(record))


def _one_line(kind: type[BaseException], error: BaseException, _: object) -> None:
    sys.stderr.write(f"internal error: {kind.__name__}: {one_line(error)} (--debug shows where)\n")


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr and the function that moves it; counts what was rated, failed and already there."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts = {"rated": 0, "failed": 0, "current": 0, "elsewhere": 0}
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("loading the model", total=total)

        def tick(what: str) -> None:
            counts[what] += 1
            failed = f", {counts['failed']} failed" if counts["failed"] else ""
            there = f", {counts['current']} already there" if counts["current"] else ""
            other = f", {counts['elsewhere']} of other shards" if counts["elsewhere"] else ""
            bar.update(task, advance=1, description=f"{counts['rated']} rated{failed}{there}{other}")

        yield tick


def tally(counts: Counter[str], most: int = 12) -> str:
    """ "3 .txt, 1 .json", the frequent ones first."""
    shown = [f"{n} {one_line(what)}" for what, n in counts.most_common(most)]
    rest = sum(counts.values()) - sum(n for _, n in counts.most_common(most))
    return ", ".join(shown + [f"{rest} others"] * (rest > 0))


class Session(Protocol):
    """The part of `ChatSession` a talk needs."""

    rating: Rating

    def ask(self, question: str) -> str: ...


def converse(session: Session, questions: TextIO, answers: TextIO, console: Console, limits: str = "") -> bool:
    """Answer the lines of `questions` until it ends or says /quit; exactly one line on `answers` per question.

    At a terminal the score and a prompt are shown on the console and answers keep their line breaks. Returns True when
    a question could not be answered (its line is empty).
    """
    from mllm_avqa.report.labels import visible

    at_terminal, failed = questions.isatty(), False
    if at_terminal:
        scores = ", ".join(f"{a} {d.score:.2f}" if d else f"{a} –" for a, d in session.rating.scores.items())
        console.print(f"{visible(session.rating.path)}: {scores}")
        if limits:
            console.print(f"limits: {one_line(limits)}", style="dim")
        console.print("ask away; /quit ends", style="dim")
    while True:
        if at_terminal:
            console.print("> ", end="")
        line = questions.readline()
        question = line.strip()
        if not line or question == "/quit":
            return failed
        if not question:
            continue
        try:
            with redirect_stdout(sys.stderr):
                answer = session.ask(question)
        except AvqaError as e:
            console.print(f"error: {one_line(e)}")
            answer, failed = "", True
        answer = visible(answer)
        answers.write((answer if answers.isatty() else " ".join(answer.split())) + "\n")
        answers.flush()
