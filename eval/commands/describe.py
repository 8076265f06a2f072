"""`python -m eval describe`: what descriptions claim, against records, scores and a judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail
from eval.commands.judges import (
    JobsOption,
    JudgeKeyOption,
    JudgeModelOption,
    JudgeOption,
    JudgeTemperatureOption,
    JudgeTimeoutOption,
    RoundsOption,
)
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(describe)


def describe(
    file: Annotated[
        Path, typer.Argument(help="Record file (.jsonl) whose clips are described; with --records: descriptions.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="OUT.json; logs of every text are written beside it.")],
    records: Annotated[
        Path | None,
        typer.Option(
            help="Record file that the descriptions in FILE (of `score --explain`, or id and text) belong to."
        ),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    split: Annotated[str, typer.Option(help="Split of the records; 'all' takes every clip.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips, evenly spread.")] = None,
    lang: Annotated[
        list[str] | None, typer.Option(help="Languages; default: those of the checkpoint, or en for a file.")
    ] = None,
    judge: JudgeOption = None,
    judge_model: JudgeModelOption = None,
    judge_key_env: JudgeKeyOption = None,
    rounds: RoundsOption = 5,
    judge_temperature: JudgeTemperatureOption = None,
    judge_timeout: JudgeTimeoutOption = 120.0,
    jobs: JobsOption = 4,
    context: Annotated[Literal["none", "fast", "full"], typer.Option(help="Text to look for.")] = "fast",
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1000,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the logs anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
) -> None:
    """Measure descriptions of clips: claims against records, text against score, and points of a judge.

    Can be stopped and called again. Exit code 1: some clips or judgements failed; the next call tries them again.
    """
    from eval.descriptions.report import render
    from eval.descriptions.run import Settings
    from eval.descriptions.run import describe as measure
    from eval.judging import open_judge

    settings = Settings(
        split=split, limit=limit, languages=tuple(lang or ()), context=context, threads=threads, fresh=fresh,
        draws=draws,
    )  # fmt: skip
    try:
        by = open_judge(
            judge, judge_model, judge_key_env, rounds=rounds, jobs=jobs, temperature=judge_temperature,
            timeout=judge_timeout, fresh=fresh,
        )  # fmt: skip
        result = measure(file, output, settings, records=records, checkpoint=checkpoint, judge=by)
    except AvqaError as e:
        raise fail(e) from None
    typer.echo(json.dumps(result, ensure_ascii=False, indent=1) if as_json else render(result))
    found = result["languages"].values()
    failed = sum(v["texts"]["failed"] for v in found)
    unjudged = sum(v["judge"]["replies"]["failed"] for v in found if "judge" in v)
    if failed or unjudged:
        typer.echo(f"{failed} descriptions and {unjudged} judgements failed; a further call tries them again", err=True)
        raise typer.Exit(1)
