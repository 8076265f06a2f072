"""`votes`: raw votes of people -> scores per clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError, ConfigError

if TYPE_CHECKING:
    from data_recipes.votes import Estimate, Votes
    from mllm_avqa.schema.levels import Scale

T = TypeVar("T")


def votes(
    file: Annotated[Path, typer.Argument(help="CSV of votes: a line per vote, or a matrix of clips and subjects.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Rows per clip as .csv or .jsonl.")] = None,
    model: Annotated[str, typer.Option(help="What `score` is: mos, p910 (bias-corrected), bt500 (screened).")] = "mos",
    scale: Annotated[str, typer.Option(help="Lowest and highest possible score, LOW:HIGH.")] = "1:5",
    layout: Annotated[str, typer.Option(help="long, matrix, pairs, or auto by the first line.")] = "auto",
    rows: Annotated[str, typer.Option(help="What the rows of a matrix are: clips, subjects, or auto.")] = "auto",
    clip: Annotated[str | None, typer.Option(help="Column of the clip (long).")] = None,
    subject: Annotated[str | None, typer.Option(help="Column of the subject (long).")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the score (long).")] = None,
    repetition: Annotated[str | None, typer.Option(help="Column of the repetition (long).")] = None,
    duplicates: Annotated[str, typer.Option(help="Two votes for a clip, no repetition: refuse, keep.")] = "refuse",
    subjects_out: Annotated[
        Path | None, typer.Option("--subjects", help="Rows per subject (bias, inconsistency) as .csv or .jsonl.")
    ] = None,
) -> None:
    """MOS, its spread and the bias-corrected MOS of every clip (tab-separated); what was found goes to stderr."""
    from data_recipes.votes.estimates import MODELS, estimate
    from data_recipes.votes.reading import DUPLICATES, LAYOUTS, SIDES, Columns, layout_of, read_votes
    from data_recipes.votes.results import clip_rows, subject_rows, table, write_rows
    from data_recipes.votes.table import Sheet

    columns = Columns(clip, subject, score, repetition)
    try:
        how = one_of(model, MODELS, "--model")
        lies = one_of(layout, LAYOUTS, "--layout")
        side = one_of(rows, SIDES, "--rows")
        again = one_of(duplicates, DUPLICATES, "--duplicates")
        bounds = read_scale(scale)
        if lies == "auto":
            lies = layout_of(Sheet(file), columns)
        if lies == "pairs":
            if subjects_out is not None:
                raise ConfigError(f"--subjects {subjects_out}: comparisons of pairs tell no bias of a subject")
            per_clip = pair_rows(file)
        else:
            read = read_votes(file, bounds, lies, columns, side, again)
            chosen = estimate(read, how)
            per_clip = list(clip_rows(chosen))
            if subjects_out is not None:
                write_rows(subjects_out, subject_rows(chosen))
            found(read, chosen, per_clip, lies)
        if out is not None:
            write_rows(out, per_clip)
    except AvqaError as e:
        raise fail(e) from e
    for line in table(per_clip):
        typer.echo(line)


def found(read: Votes, chosen: Estimate, per_clip: list[dict[str, Any]], layout: str) -> None:
    """What was read, who was rejected and how far the correction moves scores, to stderr."""
    low, high = read.scale.low, read.scale.high
    size = f"{len(read.score)} votes of {len(read.subjects)} subjects for {len(read.clips)} clips"
    say = [f"{layout}: {size}, scale {low:g}..{high:g}"]
    if chosen.screening is not None:
        s = chosen.screening
        who = [f"{n} (+{s.above[i]} -{s.below[i]})" for i, n in enumerate(read.subjects) if s.rejected[i]]
        say.append(f"BT.500 rejects {len(who)} of {len(read.subjects)} subjects: {', '.join(who) or 'nobody'}")
    shifts = [abs(row["shift"]) for row in per_clip if row.get("shift") is not None]
    if shifts:
        say.append(
            f"bias correction moves scores by {sum(shifts) / len(shifts):.3f} on average, {max(shifts):.3f} at most"
        )
    typer.echo("\n".join(say), err=True)


def pair_rows(file: Path) -> list[dict[str, Any]]:
    """Rows of a file of pair comparisons: clip, set, comparisons, times preferred, Bradley-Terry log strength."""
    from data_recipes.votes.pairs import bradley_terry, read_pairs

    pairs = read_pairs(file)
    strength, group = bradley_terry(pairs)
    won, met = pairs.wins.sum(1), (pairs.wins + pairs.wins.T).sum(1)
    typer.echo(
        f"pairs: {pairs.wins.sum():g} comparisons of {len(pairs.clips)} clips in {group.max() + 1} sets", err=True
    )
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


def one_of(value: str, allowed: tuple[T, ...], flag: str) -> T:
    """The allowed value equal to the text. Raises ConfigError naming the flag."""
    for choice in allowed:
        if choice == value:
            return choice
    raise ConfigError(f"{flag} {value!r}: allowed are {', '.join(map(str, allowed))}")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("votes")(votes)
