"""`python -m eval fusion` and `features`: what a model has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands import fail
from mllm_avqa.schema.errors import AvqaError


def register(app: typer.Typer) -> None:
    app.command()(fusion)
    app.command()(features)


def fusion(
    labels: Annotated[Path, typer.Argument(help="Labels: .csv, .jsonl or .parquet, or a record file (.jsonl).")],
    pred: Annotated[
        Path | None, typer.Option(help="Take A and V from these predictions instead of the labels themselves.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Column of LABELS that names the content of a clip.")] = None,
    splits: Annotated[int, typer.Option(min=1, help="Content-separated splits.")] = 10,
    id_column: Annotated[str | None, typer.Option("--id", help="Column that names the clips in both tables.")] = None,
    label_column: Annotated[
        list[str] | None, typer.Option(help="ASPECT=COLUMN of LABELS (overall, audio, video); may be repeated.")
    ] = None,
    pred_column: Annotated[
        list[str] | None, typer.Option(help="ASPECT=COLUMN of the predictions (audio, video); may be repeated.")
    ] = None,
    scale: Annotated[tuple[float, float], typer.Option(help="LOW HIGH of the study's scale.")] = (1.0, 5.0),
    pred_scale: Annotated[tuple[float, float], typer.Option(help="LOW HIGH of the predictions.")] = (1.0, 5.0),
    lower_is_better: Annotated[
        bool | None,
        typer.Option("--lower-is-better/--higher-is-better", help="Do the labels of the table fall with quality?"),
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 2000,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON instead of tables.")] = False,
) -> None:
    """Fuse audio and video scores into overall quality by the field's formulas, fitted on training splits."""
    from eval.baselines.fusion import study
    from eval.baselines.scored import read_scored
    from eval.baselines.text import fusion_markdown
    from eval.joining import Columns

    try:
        data = read_scored(
            labels,
            pred,
            columns=Columns(
                id=id_column, scores=tuple(label_column or ()), group=group, lower_is_better=lower_is_better
            ),
            pred_columns=tuple(pred_column or ()),
            scale=scale,
            pred_scale=pred_scale,
        )
        found = study(data, splits, draws, labels.name if pred is None else pred.name)
    except AvqaError as e:
        raise fail(e) from None
    for note in [*found.notes, *(f"{m.name}: {m.note}" for m in found.models if m.note)]:
        typer.echo(note, err=True)
    typer.echo(found.model_dump_json(indent=2) if as_json else fusion_markdown(found))


def features(
    records: Annotated[Path, typer.Argument(help="Record file (.jsonl) with splits 'train' and SPLIT.")],
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "test",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="OUT.csv: predictions, a column ASPECT_MODEL each.")
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="Take the facts from this file of `mllm-avqa score --full` (.jsonl).")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of measured facts; default: RECORDS without its ending + '.facts'.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode and measure.")] = 1,
    context: Annotated[Literal["none", "fast"], typer.Option(help="Text to look for.")] = "fast",
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON instead of tables.")] = False,
) -> None:
    """Support vectors and random forest on measured signal facts, per aspect: what every model must beat.

    Exits with 1 when clips could not be measured; they count as missing.
    """
    from eval.baselines.features import study, write_predictions
    from eval.baselines.measuring import from_ratings, measured
    from eval.baselines.text import features_markdown
    from mllm_avqa.schema.records import read_records

    try:
        chosen = [r for r in read_records(records) if r.split in ("train", split)]
        if ratings is not None:
            facts, failed = from_ratings(chosen, ratings)
        else:
            folder = cache or records.with_suffix(".facts")
            facts, failed = measured(chosen, records.parent, folder, context=context, workers=workers)
        found = study(chosen, facts, failed, split, records.name, draws)
        if output is not None:
            rows = write_predictions(output, chosen, found.predictions)
            typer.echo(f"wrote {rows} clips to {output}", err=True)
    except AvqaError as e:
        raise fail(e) from None
    for note in found.study.notes:
        typer.echo(note, err=True)
    for name, why in failed.items():
        typer.echo(f"{name}: {why}", err=True)
    typer.echo(found.study.model_dump_json(indent=2) if as_json else features_markdown(found.study))
    if failed:
        raise typer.Exit(1)
