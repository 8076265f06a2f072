"""A suite with its checkpoints, one after the other: every task of every checkpoint has lines, or a reason."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import typer
from safetensors import SafetensorError

from eval import machine
from eval.board.bench import Bench, Stopwatch, SuiteRun
from eval.board.reading import Board, Result, Suite, read_suite
from eval.board.view import markdown, write_board
from eval.samples import Checkpoint, Samples, board_names, identify
from eval.study import Line, Study, shell
from mllm_avqa.schema.errors import AvqaError

log = logging.getLogger(__name__)
# What a checkpoint or a disk can do to one task (broken or misfitting weights, memory, I/O): the other tasks go on.
TOLD = (AvqaError, SafetensorError, RuntimeError, OSError)
FOLD = "{fold}"


@dataclass
class Entrant:
    """A checkpoint of the command line: opened, or a pattern for one per split, or why it is neither."""

    name: str
    given: str
    checkpoint: Checkpoint | None = None
    why: str = ""


def run_suite(suite: Suite, tasks: Sequence[Study], given: Sequence[str], settings: SuiteRun) -> Board:
    """Run every task with every checkpoint. What fails is told in its place; nothing stops the rest."""
    begin = time.perf_counter()
    clock, samples = Stopwatch(), Samples()
    results = {
        t.name: Result(kind=t.kind, task=t.name, version=t.version, about=t.about, notes=list(t.notes)) for t in tasks
    }
    ready = [t for t in tasks if _present(t, suite, results[t.name])]
    with Bench(None, settings, samples, clock) as bench:
        for task in ready:
            _gather(task, bench, task.alone, results[task.name])
    entrants = [_open(name, g) for name, g in zip(board_names(given), given, strict=True)]
    for e in entrants:
        if e.why:
            for task in tasks:
                results[task.name].failed[e.name] = e.why
            continue
        pattern = e.given if e.checkpoint is None else ""
        with Bench(e.checkpoint, settings, samples, clock, e.name, pattern) as bench:
            for task in ready:
                _gather(task, bench, task.lines, results[task.name])
    board = Board(
        suite=suite.name,
        version=suite.version,
        about=suite.about,
        notes=suite.notes,
        made_by=suite.made_by,
        checkpoints={e.name: e.why or (e.checkpoint.weights if e.checkpoint else "one per split") for e in entrants},
        command=_command(tasks, suite, given, settings),
        machine=_machine(settings),
        seconds={"all": round(time.perf_counter() - begin, 3), "model": round(clock.model, 3)},
        results=list(results.values()),
    )
    board.done = not any(r.failed or r.lost for r in board.results)
    return board


def _open(name: str, given: str) -> Entrant:
    if FOLD in given:
        return Entrant(name, given)
    try:
        return Entrant(name, given, identify(given))
    except AvqaError as e:
        log.warning("%s: %s", name, e)
        return Entrant(name, given, why=f"{e.kind}: {e}")


def _present(task: Study, suite: Suite, result: Result) -> bool:
    """A task whose data are not there is told, with the commands that make them."""
    absent = [str(p) for p in task.files() if not p.exists()]
    if absent:
        made = f"; the data are made by: {'; '.join(suite.made_by)}" if suite.made_by else ""
        result.failed["all"] = f"{', '.join(absent)} does not exist{made}"
        log.warning("%s: %s", task.name, result.failed["all"])
    return not absent


def _gather(task: Study, bench: Bench, make: Callable[[Bench], Iterable[Line]], result: Result) -> None:
    for told in (bench.lost, bench.notes, bench.failed):
        told.clear()
    who = bench.who or "baselines"
    log.info("%s: %s", task.name, who)
    try:
        for made in make(bench):
            known = (x for x in result.lines if (x.table, x.what, x.who) == (made.table, made.what, made.who))
            if not (made.baseline and any(known)):  # chance is the same for everybody
                result.lines.append(made)
    except TOLD as e:
        log.warning("%s, %s: %s", task.name, who, e, exc_info=not isinstance(e, AvqaError))
        result.failed[who] = f"{e.kind if isinstance(e, AvqaError) else type(e).__name__}: {e}"
    result.failed |= bench.failed
    if bench.lost:
        result.lost[who] = [f"{name}: {why}" for name, why in bench.lost.items()]
    result.notes += [n for n in dict.fromkeys(bench.notes) if n not in result.notes]


def _machine(settings: SuiteRun) -> dict[str, Any]:
    """What numbers were measured on; a run that took everything from its cache has loaded nothing to ask for a GPU."""
    if "torch" in sys.modules:
        return machine.describe(settings.threads)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": machine.processor(),
        "versions": machine.versions(),
        "commit": machine.commit(),
    }


def _command(tasks: Sequence[Study], suite: Suite, given: Sequence[str], settings: SuiteRun) -> str:
    only = [x for t in tasks for x in ("--only", t.name)] if len(tasks) < len(suite.tasks) else []
    limit = ["--limit", settings.limit] if settings.limit is not None else []
    return shell("suite", settings.suite, *given, *only, *limit, "-o", settings.output)


class SuiteCommand(SuiteRun):
    """Run the tasks of a suite with every checkpoint and write OUTPUT/leaderboard.html, .md and .json.

    Predictions are kept by content, so a stopped run goes on and an unchanged one costs next to nothing. Exits with 1
    when a task, a checkpoint or a clip has no result; the page says which and why.
    """

    command: ClassVar[str] = "suite"

    def main(self) -> int:
        read, tasks = read_suite(self.suite, self.only)
        board = run_suite(read, tasks, self.checkpoints, self)
        typer.echo(f"wrote {write_board(board, self.output)}", err=True)
        typer.echo(board.model_dump_json(indent=1) if self.as_json else markdown(board))
        return int(not board.done)
