"""What the commands share: a console on stderr, errors in one line, the progress bar, and the talk of `chat`."""

from __future__ import annotations

import io
import logging
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Protocol, TextIO

import typer

from mllm_avqa.batch.stopping import Stopped
from mllm_avqa.schema.errors import AvqaError, CheckpointError, ConfigError, ContextUnavailable, OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from mllm_avqa.schema.rating import Rating

WRONG_USAGE = (ConfigError, CheckpointError, OutputError, ContextUnavailable)  # exit code 2


@contextmanager
def reported(debug: bool) -> Iterator[Console]:
    """A console on stderr. Inside, what libraries print goes there too; errors become one line and an exit code.

    What anything writes to stderr is text of strangers to a terminal: control characters become a visible mark.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    stderr = sys.stderr.whole if isinstance(sys.stderr, Shown) else sys.stderr
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

    counts = {"rated": 0, "failed": 0, "current": 0}
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("loading the model", total=total)

        def tick(what: str) -> None:
            counts[what] += 1
            failed = f", {counts['failed']} failed" if counts["failed"] else ""
            there = f", {counts['current']} already there" if counts["current"] else ""
            bar.update(task, advance=1, description=f"{counts['rated']} rated{failed}{there}")

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
