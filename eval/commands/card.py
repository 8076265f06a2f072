"""`python -m eval card`: everything a model card claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail, save
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(card)


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
    try:
        results = measure(records, checkpoint, settings)
        command = f"python -m eval card {records.name} --checkpoint {Path(checkpoint).name} --split {split}"
        command += (f" --limit {limit}" if limit else "") + "".join(f" --lang {x}" for x in lang or ())
        command += f" --context {context} --probes {probes}" + " --write-card" * write_card
        results["command"] = command
        if write_card:
            typer.echo(f"wrote {write(checkpoint, results)}", err=True)
        text = json.dumps(results, ensure_ascii=False, indent=1)
        if output is not None:
            save(output, text)
    except AvqaError as e:
        raise fail(e) from None
    typer.echo(text if output is None else json.dumps(compact(results), ensure_ascii=False))
