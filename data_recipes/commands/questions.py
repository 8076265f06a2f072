"""`questions`, `rewrite`, `bench`: what is asked about records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from data_recipes.commands import RecordsArgument, SeedOption, command, give, say
from mllm_avqa.schema.errors import ConfigError

OutOption = Annotated[Path, typer.Option("-o", "--out", help="File to write; it may be the one that is read.")]
LanguagesOption = Annotated[str, typer.Option(help="Comma-separated: en, zh.")]


@command("questions")
def questions(
    records: RecordsArgument,
    out: OutOption,
    stages: Annotated[str, typer.Option(help="Comma-separated: 1, 2, 3.")] = "1,2,3",
    languages: LanguagesOption = "en,zh",
    count: Annotated[
        str, typer.Option(help="Questions per record and language: one number, or one per stage.")
    ] = "6,3,2",
    style: Annotated[
        Literal["short", "steps"],
        typer.Option(help="steps: all tasks and descriptions in five steps; short: what a tiny model can say."),
    ] = "steps",
    pairs: Annotated[int, typer.Option(min=0, help="Comparisons of two clips per language.")] = 0,
    seed: SeedOption = 0,
) -> None:
    """Write records with questions and answers in up to three stages. Prints what was asked as JSON."""
    from data_recipes.questions.write import write_questions

    give(write_questions(records, out, _counts(stages, count), _languages(languages), style, pairs, seed))


@command("rewrite")
def rewrite(
    records: RecordsArgument,
    out: OutOption,
    endpoint: Annotated[str, typer.Option(help="Base URL of an OpenAI-compatible server, e.g. http://host:8000/v1.")],
    model: Annotated[str, typer.Option(help="Name of the model there.")],
    key_env: Annotated[str | None, typer.Option(help="Environment variable that holds the API key.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature; the server's default if absent.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Requests under way at the same time.")] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for one answer.")] = 120.0,
) -> None:
    """Let a language model reword the descriptions; a rewrite that changes a fact is refused and the original kept.

    Can be stopped and called again. Prints counts as JSON; exit code 1 when requests failed for good.
    """
    from data_recipes.sets.rewrite import rewrite_records
    from mllm_avqa.model.endpoint import Endpoint

    numbers = rewrite_records(records, out, Endpoint.open(endpoint, model, key_env, temperature, timeout), jobs)
    give(numbers)
    if numbers["failed"]:
        say(f"{numbers['failed']} texts could not be sent, their originals were kept; call again")
        raise typer.Exit(1)


@command("bench")
def bench(
    records: RecordsArgument,
    out: OutOption,
    split: Annotated[str, typer.Option(help="Split the clips come from; train is refused unless allowed.")] = "test",
    count: Annotated[int, typer.Option(min=1, help="Items per language at most.")] = 1000,
    languages: LanguagesOption = "en",
    seed: SeedOption = 0,
    allow_train: Annotated[bool, typer.Option("--allow-train", help="Take training records all the same.")] = False,
) -> None:
    """Write a multiple-choice bench on held-out clips, balanced over types, modalities and option positions."""
    from data_recipes.sets.bench import write_bench

    give(write_bench(records, out, split, count, _languages(languages), seed, allow_train))


def _counts(stages: str, count: str) -> dict[Any, int]:
    wanted, numbers = stages.split(","), count.split(",")
    if unknown := [s for s in wanted if s not in ("1", "2", "3")]:
        raise ConfigError(f"stage {unknown[0]!r} does not exist; allowed: 1, 2, 3 (--stages)")
    if not all(n.isdecimal() for n in numbers):
        raise ConfigError(f"{count!r} are not whole numbers; allowed: one number or one per stage (--count)")
    if len(numbers) == 1:
        numbers *= len(wanted)
    elif len(numbers) == 3 != len(wanted):  # the default lists all three stages: take those asked for
        numbers = [numbers[int(s) - 1] for s in wanted]
    if len(numbers) != len(wanted):
        raise ConfigError(f"{count!r} has {len(numbers)} numbers for {len(wanted)} stages (--count, --stages)")
    return {int(s): int(n) for s, n in zip(wanted, numbers, strict=True)}


def _languages(text: str) -> list[Any]:
    from mllm_avqa.model.prompting import LANGUAGES

    wanted = text.split(",")
    if unknown := [w for w in wanted if w not in LANGUAGES]:
        raise ConfigError(f"language {unknown[0]!r} does not exist; allowed: {', '.join(LANGUAGES)} (--languages)")
    return wanted
