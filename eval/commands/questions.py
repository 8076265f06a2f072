"""`python -m eval questions`: question benchmarks, from tasks in eval/tasks/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from eval.commands import fail, save
from eval.commands.judges import (
    JobsOption,
    JudgeKeyOption,
    JudgeModelOption,
    JudgeOption,
    JudgeTemperatureOption,
    JudgeTimeoutOption,
    RoundsOption,
)
from mllm_avqa.schema.errors import AvqaError, ConfigError


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
        Literal["logprob", "mean", "generate"],
        typer.Option(
            help="logprob: of the letter, or of a whole answer without letters; mean: over an answer's tokens; "
            "generate: a written answer, read strictly."
        ),
    ] = "logprob",
    shuffles: Annotated[
        int, typer.Option(min=1, help="Orders of the options, averaged: as given, then rotated by one place each.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many items, evenly spread.")] = None,
    context: Annotated[Literal["none", "fast", "full"], typer.Option(help="Text to look for.")] = "fast",
    replies: Annotated[
        Path | None, typer.Option(help="A judge's replies (.jsonl with id, reply) to the prompts of an earlier run.")
    ] = None,
    judge: JudgeOption = None,
    judge_model: JudgeModelOption = None,
    judge_key_env: JudgeKeyOption = None,
    rounds: RoundsOption = 5,
    judge_temperature: JudgeTemperatureOption = None,
    judge_timeout: JudgeTimeoutOption = 120.0,
    jobs: JobsOption = 4,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the log anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of a table.")] = False,
) -> None:
    """Ask a checkpoint the questions of a benchmark. Exit code 1: media were missing, or media or judgements failed."""
    from eval.questions.task import load_task

    try:
        chosen = load_task(task)
        from eval.judging import open_judge
        from eval.questions.judge import judge_answers, read_replies, write_prompts
        from eval.questions.run import Settings, answer_all
        from eval.questions.summary import render, summarise

        given = read_replies(replies) if replies is not None else None
        by = open_judge(
            judge, judge_model, judge_key_env, rounds=rounds, jobs=jobs, temperature=judge_temperature,
            timeout=judge_timeout, fresh=fresh,
        )  # fmt: skip
        if by is not None and given is not None:
            raise ConfigError("--judge and --replies are two sources of the same judgements: give one")
        settings = Settings(
            readout=readout, shuffles=shuffles, limit=limit, context=context, threads=threads, fresh=fresh
        )
        answers = answer_all(chosen, data, media_root, checkpoint, settings, output)
        judgement: dict[str, Any] = {}
        if by is not None and chosen.judge:
            path = output / f"{chosen.name}.judgements.jsonl"
            given, judgement = judge_answers(answers.rows, chosen.judge, chosen.language, by, path)
        result = summarise(answers, settings, given) | judgement
        if chosen.judge:
            path = output / f"{chosen.name}.judge.jsonl"
            n = write_prompts(path, answers.rows, chosen.judge, chosen.language)
            typer.echo(f"wrote {n} judge prompts to {path}", err=True)
        text = json.dumps(result, ensure_ascii=False, indent=1)
        save(output / f"{chosen.name}.json", text)
    except AvqaError as e:
        raise fail(e) from None
    typer.echo(text if as_json else render(result))
    if result["left_out"]["missing"] or result["left_out"]["failed"]:
        typer.echo("some media were missing or failed; a further run tries them again", err=True)
        raise typer.Exit(1)
    if judgement and judgement["judged_by"]["failed"]:
        typer.echo(f"{judgement['judged_by']['failed']} judgements failed; a further run asks for them again", err=True)
        raise typer.Exit(1)
