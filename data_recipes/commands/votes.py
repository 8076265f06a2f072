"""`votes`: raw votes of people -> scores per clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data_recipes.commands import command, say
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    from data_recipes.votes import Estimate, Votes
    from mllm_avqa.schema.levels import Scale


@command("votes")
def votes(
    file: Annotated[Path, typer.Argument(help="CSV of votes: a line per vote, or a matrix of clips and subjects.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Rows per clip as .csv or .jsonl.")] = None,
    model: Annotated[
        Literal["mos", "p910", "bt500"],
        typer.Option(help="What `score` is: mos, p910 (bias-corrected), bt500 (screened)."),
    ] = "mos",
    scale: Annotated[str, typer.Option(help="Lowest and highest possible score, LOW:HIGH.")] = "1:5",
    layout: Annotated[
        Literal["auto", "long", "matrix", "pairs"], typer.Option(help="How the file lies; auto: by its first line.")
    ] = "auto",
    rows: Annotated[
        Literal["auto", "clips", "subjects"], typer.Option(help="What the rows of a matrix are; auto: by their names.")
    ] = "auto",
    clip: Annotated[str | None, typer.Option(help="Column of the clip (long).")] = None,
    subject: Annotated[str | None, typer.Option(help="Column of the subject (long).")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the score (long).")] = None,
    repetition: Annotated[str | None, typer.Option(help="Column of the repetition (long).")] = None,
    duplicates: Annotated[
        Literal["refuse", "keep"], typer.Option(help="Two votes for a clip, no repetition.")
    ] = "refuse",
    subjects_out: Annotated[
        Path | None, typer.Option("--subjects", help="Rows per subject (bias, inconsistency) as .csv or .jsonl.")
    ] = None,
) -> None:
    """MOS, its spread and the bias-corrected MOS of every clip (tab-separated); what was found goes to stderr."""
    from data_recipes.votes.estimates import estimate
    from data_recipes.votes.reading import Columns, layout_of, read_votes
    from data_recipes.votes.results import clip_rows, subject_rows, table, write_rows
    from data_recipes.votes.table import Sheet

    columns, bounds = Columns(clip, subject, score, repetition), read_scale(scale)
    lies = layout_of(Sheet(file), columns) if layout == "auto" else layout
    if lies == "pairs":
        if subjects_out is not None:
            raise ConfigError(f"--subjects {subjects_out}: comparisons of pairs tell no bias of a subject")
        per_clip = _pair_rows(file)
    else:
        read = read_votes(file, bounds, lies, columns, rows, duplicates)
        chosen = estimate(read, model)
        per_clip = list(clip_rows(chosen))
        if subjects_out is not None:
            write_rows(subjects_out, subject_rows(chosen))
        _tell(read, chosen, per_clip, lies)
    if out is not None:
        write_rows(out, per_clip)
    for line in table(per_clip):
        typer.echo(line)


def _tell(read: Votes, chosen: Estimate, per_clip: list[dict[str, Any]], layout: str) -> None:
    """What was read, who was rejected and how far the correction moves scores."""
    low, high = read.scale.low, read.scale.high
    size = f"{len(read.score)} votes of {len(read.subjects)} subjects for {len(read.clips)} clips"
    say(f"{layout}: {size}, scale {low:g}..{high:g}")
    if chosen.screening is not None:
        s = chosen.screening
        who = [f"{n} (+{s.above[i]} -{s.below[i]})" for i, n in enumerate(read.subjects) if s.rejected[i]]
        say(f"BT.500 rejects {len(who)} of {len(read.subjects)} subjects: {', '.join(who) or 'nobody'}")
    shifts = [abs(row["shift"]) for row in per_clip if row.get("shift") is not None]
    if shifts:
        mean, most = sum(shifts) / len(shifts), max(shifts)
        say(f"bias correction moves scores by {mean:.3f} on average, {most:.3f} at most")


def _pair_rows(file: Path) -> list[dict[str, Any]]:
    """Rows of a file of pair comparisons: clip, set, comparisons, times preferred, Bradley-Terry log strength."""
    from data_recipes.votes.pairs import bradley_terry, read_pairs

    pairs = read_pairs(file)
    strength, group = bradley_terry(pairs)
    won, met = pairs.wins.sum(1), (pairs.wins + pairs.wins.T).sum(1)
    say(f"pairs: {pairs.wins.sum():g} comparisons of {len(pairs.clips)} clips in {group.max() + 1} sets")
    return [
        {"clip": c, "set": int(s), "comparisons": float(m), "preferred": float(w), "strength": float(v)}
        for c, s, m, w, v in zip(pairs.clips, group, met, won, strength, strict=True)
    ]


def read_scale(text: str) -> Scale:
    """Scale of `1:5`. Raises ConfigError for anything else (--scale)."""
    from mllm_avqa.schema.levels import Scale

    low, _, high = text.partition(":")
    try:
        return Scale(float(low), float(high))
    except ValueError as e:
        raise ConfigError(f"--scale {text!r}: give the lowest and the highest possible score, e.g. 1:5 or 0:100") from e
