"""What the commands share: a console on stderr, errors in one line, the progress bar, and the talk of `chat`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Protocol, TextIO

import typer

from mllm_avqa.schema.errors import AvqaError, CheckpointError, ConfigError, ContextUnavailable, OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from mllm_avqa.schema.rating import Rating

WRONG_USAGE = (ConfigError, CheckpointError, OutputError, ContextUnavailable)  # exit code 2


@contextmanager
def reported(debug: bool) -> Iterator[Console]:
    """A console on stderr. Inside, what libraries print goes there too; errors become one line and an exit code."""
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
    handler = RichHandler(console=console, show_time=debug, show_path=debug, markup=False)
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(message)s", handlers=[handler])
    if not debug:
        sys.excepthook = _one_line
    try:
        with redirect_stdout(sys.stderr):
            yield console
    except AvqaError as e:
        if debug:
            console.print_exception()
        from mllm_avqa.report.labels import visible

        console.print(f"error: {visible(' '.join(str(e).split()))}")
        raise typer.Exit(2 if isinstance(e, WRONG_USAGE) else 1) from None
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(130) from None


def _one_line(kind: type[BaseException], error: BaseException, _: object) -> None:
    sys.stderr.write(f"internal error: {kind.__name__}: {error} (--debug shows where)\n")


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr and the function that moves it; counts what was rated, failed and already there."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts = {"rated": 0, "failed": 0, "current": 0}
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("loading the model", total=total)

        def tick(what: str) -> None:
            counts[what] += 1
            failed = f", {counts['failed']} failed" if counts["failed"] else ""
            there = f", {counts['current']} already there" if counts["current"] else ""
            bar.update(task, advance=1, description=f"{counts['rated']} rated{failed}{there}")

        yield tick


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
            console.print(f"limits: {visible(' '.join(limits.split()))}", style="dim")
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
            console.print(f"error: {visible(' '.join(str(e).split()))}")
            answer, failed = "", True
        answer = visible(answer)
        answers.write((answer if answers.isatty() else " ".join(answer.split())) + "\n")
        answers.flush()
