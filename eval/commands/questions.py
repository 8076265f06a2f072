"""`python -m eval questions`: question benchmarks, from tasks in eval/tasks/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from mllm_avqa.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(questions)


def questions(
    task: Annotated[
        str,
        typer.Argument(help="qbench_a1, qbench_a2, qbench_a3, qbench_video, av_questions, or a task file (.yaml)."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the log, the results and judge prompts.")],
    data: Annotated[Path, typer.Option(help="Data file of the benchmark (.json, .jsonl); for A2 also a folder.")],
    media_root: Annotated[
        Path | None, typer.Option(help="Folder the media paths start from; default: that of the data file.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    readout: Annotated[
        Literal["logprob", "generate"],
        typer.Option(help="By log-probability, or a written answer, read strictly."),
    ] = "logprob",
    shuffles: Annotated[
        int, typer.Option(min=1, help="Orders of the options, averaged: as given, then rotated by one place each.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many items, evenly spread.")] = None,
    context: Annotated[Literal["none", "fast", "full"], typer.Option(help="Text to look for.")] = "fast",
    replies: Annotated[
        Path | None, typer.Option(help="A judge's replies (.jsonl with id, reply) to the prompts of an earlier run.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the log anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of a table.")] = False,
) -> None:
    """Ask a checkpoint the questions of a benchmark. Exit code 1: the media of some items were missing or failed."""
    from eval.questions.task import load_task

    try:
        chosen = load_task(task)
        from eval.questions.judge import read_replies, write_prompts
        from eval.questions.run import Settings, answer_all
        from eval.questions.summary import render, summarise

        given = read_replies(replies) if replies is not None else None
        settings = Settings(
            readout=readout, shuffles=shuffles, limit=limit, context=context, threads=threads, fresh=fresh
        )
        answers = answer_all(chosen, data, media_root, checkpoint, settings, output)
        result = summarise(answers, settings, given)
        if chosen.judge:
            path = output / f"{chosen.name}.judge.jsonl"
            n = write_prompts(path, answers.rows, chosen.judge, chosen.language)
            typer.echo(f"wrote {n} judge prompts to {path}", err=True)
    except AvqaError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(2) from None
    text = json.dumps(result, ensure_ascii=False, indent=1)
    part = output / f"{chosen.name}.json.part"
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(output / f"{chosen.name}.json")
    typer.echo(text if as_json else render(result))
    if result["left_out"]["missing"] or result["left_out"]["failed"]:
        typer.echo("some media were missing or failed; a further run tries them again", err=True)
        raise typer.Exit(1)
