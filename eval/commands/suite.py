"""`python -m eval suite` and `export-lmms`: many tasks and checkpoints on one page; our questions for lmms-eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.commands import fail
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(suite)
    app.command("export-lmms")(export_lmms)


def suite(
    suite_file: Annotated[Path, typer.Argument(metavar="SUITE.yaml", help="Tasks, e.g. eval/suites/nano.yaml.")],
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="'nano', directories, or a pattern with {fold} of one per split (kind splits).",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page, its data and what repeats it.")],
    only: Annotated[list[str] | None, typer.Option(help="Name of a task; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips or items a task.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of kept predictions; default: OUTPUT/cache.")] = None,
    chunk: Annotated[int, typer.Option(min=1, help="Clips held in memory at once.")] = 8,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Rate everything again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of tables.")] = False,
) -> None:
    """Run the tasks of a suite with every checkpoint and write OUTPUT/leaderboard.html, .md and .json.

    Predictions are kept by content, so a stopped run goes on and an unchanged one costs next to nothing. Exits with 1
    when a task, a checkpoint or a clip has no result; the page says which and why.
    """
    try:
        from eval.suite.bench import Settings
        from eval.suite.page import write_board
        from eval.suite.reading import read_suite
        from eval.suite.run import run_suite
        from eval.suite.view import markdown

        read, tasks = read_suite(suite_file, only or ())
        settings = Settings(output, cache or output / "cache", suite_file, limit, chunk, threads, fresh)
        board = run_suite(read, tasks, checkpoints, settings)
        typer.echo(f"wrote {write_board(board, output)}", err=True)
    except AvqaError as e:
        raise fail(e) from None
    typer.echo(board.model_dump_json(indent=1) if as_json else markdown(board))
    if not board.done:
        raise typer.Exit(1)


def export_lmms(
    bench: Annotated[Path, typer.Argument(metavar="BENCH.jsonl", help="What `data_recipes bench` writes.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the task, for --include_path.")],
    name: Annotated[str, typer.Option(help="Name of the task in lmms-eval.")] = "mllm_avqa_bench",
) -> None:
    """Write a task folder with which lmms-eval runs the question bench on any model it knows."""
    try:
        from eval.suite.lmms import export

        typer.echo(export(bench, output, name))
    except AvqaError as e:
        raise fail(e) from None
