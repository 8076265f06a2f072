"""`python -m eval`: data on stdout, everything human on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import baselines, calibrate, correlate, questions
from mllm_avqa.errors import AvqaError

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

TOPICS = (correlate, baselines, calibrate, questions)
for _topic in TOPICS:
    _topic.register(app)


@app.callback()
def main() -> None:
    """Measure predictions and checkpoints against labels."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except AvqaError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(2) from None


@app.command()
def card(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl) with held-out clips.")],
    checkpoint: Annotated[str, typer.Option(help="'nano' or a checkpoint directory.")] = "nano",
    split: Annotated[str, typer.Option(help="Split of the records; 'all' takes every clip.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips.")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Languages; default: those of the checkpoint.")] = None,
    context: Annotated[Literal["none", "fast", "full"], typer.Option(help="Text to look for.")] = "fast",
    chunk: Annotated[int, typer.Option(min=2, help="Clips held in memory at once.")] = 8,
    probes: Annotated[int, typer.Option(min=0, help="Clips for injections and for explanations.")] = 40,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="OUT.json; default: stdout.")] = None,
    write_card: Annotated[
        bool, typer.Option("--write-card", help="Put the results into avqa.yaml and MODEL_CARD.md of the checkpoint.")
    ] = False,
) -> None:
    """Measure a checkpoint on held-out sources: everything its model card claims."""
    from eval.measure import Settings, measure
    from eval.model_card import compact, write

    settings = Settings(
        split=split, limit=limit, languages=tuple(lang or ()), context=context, chunk=chunk, probes=probes,
        threads=threads,
    )  # fmt: skip
    with _reported():
        results = measure(records, checkpoint, settings)
        command = f"python -m eval card {records.name} --checkpoint {Path(checkpoint).name} --split {split}"
        command += (f" --limit {limit}" if limit else "") + "".join(f" --lang {x}" for x in lang or ())
        command += f" --context {context} --probes {probes}" + " --write-card" * write_card
        results["command"] = command
        if write_card:
            typer.echo(f"wrote {write(checkpoint, results)}", err=True)
    text = json.dumps(results, ensure_ascii=False, indent=1)
    if output is None:
        typer.echo(text)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n", encoding="utf-8")
        typer.echo(json.dumps(compact(results), ensure_ascii=False))


if __name__ == "__main__":
    app()
