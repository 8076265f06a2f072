"""`convert`, `datasets`, `fetch`, `votes`: what people said of clips, from its owner to records and scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data_recipes.commands import command, give, say
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    from data_recipes.datasets.convert import ConversionJob
    from data_recipes.datasets.report import ConversionReport
    from data_recipes.fetch import Fetch
    from data_recipes.votes import Estimate, Votes
    from mllm_avqa.schema.levels import Scale

ASPECTS = ("overall", "video", "audio", "sync", "text")
Named = list[str] | None


@command("convert")
def convert(
    name: Annotated[str, typer.Argument(help="Name of the dataset (see `datasets`), or custom.")],
    root: Annotated[Path, typer.Argument(help="Folder with the set's label files; for custom: the CSV or JSONL file.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Record file to write.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Read everything, report, write nothing.")] = False,
    missing: Annotated[
        Literal["fail", "keep", "drop"], typer.Option(help="Clips without a media file: fail, keep or drop.")
    ] = "fail",
    media_root: Annotated[Path | None, typer.Option(help="Folder the media paths start from, if not ROOT.")] = None,
    layout: Annotated[str | None, typer.Option(help="Published copy to use, where several lie below ROOT.")] = None,
    part: Annotated[Named, typer.Option(help="Only this part or split of the set; may be repeated.")] = None,
    mapping: Annotated[Path | None, typer.Option("--map", help="YAML file that says which column holds what.")] = None,
    name_column: Annotated[str | None, typer.Option(help="Column with the media path.")] = None,
    score_column: Annotated[Named, typer.Option(help="ASPECT=COLUMN; may be repeated.")] = None,
    std_column: Annotated[Named, typer.Option(help="ASPECT=COLUMN with the std of the ratings.")] = None,
    scale: Annotated[str | None, typer.Option(help="LOW:HIGH of the study, e.g. 1:5.")] = None,
    higher_is_better: Annotated[
        bool | None, typer.Option("--higher-is-better/--lower-is-better", help="Direction of the scores.")
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="Column with the content or reference.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column with train, val or test.")] = None,
    columns: Annotated[str | None, typer.Option(help="Names of a file without a header, e.g. clip,fps,mos.")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal sign of the numbers: . or ,")] = None,
    per_rating: Annotated[bool, typer.Option("--per-rating", help="A row is one rating, not one clip.")] = False,
    dataset: Annotated[str | None, typer.Option(help="Dataset name in the records of custom.")] = None,
) -> None:
    """Write a dataset's labels as records. The report goes to stderr, the same numbers as JSON to stdout.

    Exit code 2: refused, nothing was written (--check: would be refused). Missing media refuse the conversion unless
    --missing keep (records point to where the file should be) or drop (left out); both are counted.
    """
    from data_recipes.datasets.convert import convert as run
    from data_recipes.datasets.mapping import job_of

    bounds = read_scale(scale) if scale else None
    flags = dict(
        dataset=dataset, name=name_column, scores=_pairs("--score-column", score_column),
        std=_pairs("--std-column", std_column), scale=bounds and (bounds.low, bounds.high),
        higher_is_better=higher_is_better, group=group_column, split=split_column, decimal=decimal,
        per_rating=per_rating or None, columns=[c.strip() for c in columns.split(",")] if columns else None,
    )  # fmt: skip
    if (out is None) != check:
        raise ConfigError("give either -o OUT.jsonl or --check")
    job = job_of(name, root, mapping, {k: v for k, v in flags.items() if v not in (None, {})})
    job = replace(job, layout=layout, media_root=media_root, missing=missing, parts=tuple(part or ()))
    report = run(job, out)
    _tell(job, report, out)
    if report.problems.errors:
        raise typer.Exit(2)


def _pairs(flag: str, given: Named) -> dict[str, str]:
    pairs = {aspect: column for aspect, _, column in (p.partition("=") for p in given or ())}
    for aspect, column in pairs.items():
        if aspect not in ASPECTS or not column:
            allowed = f"expected ASPECT=COLUMN, e.g. {flag} video=mos; aspects are {', '.join(ASPECTS)}"
            raise ConfigError(f"{flag} {aspect}={column}: {allowed}")
    return pairs


def _tell(job: ConversionJob, report: ConversionReport, out: Path | None) -> None:
    say(f"{report.dataset}: copy {report.layout!r}: {', '.join(report.files)}")
    for aspect, r in report.aspects.items():
        direction = "higher is better" if r.higher_is_better else "LOWER is better"
        scores = f"{r.n} scores {r.low:.4g}..{r.high:.4g}, mean {r.mean:.4g}"
        scale = f"scale {r.scale[0]:g}..{r.scale[1]:g}, {direction}"
        say(f"  {aspect}: {scores}, {scale}, {r.with_std} with std, {r.with_votes} with votes")
    parts = ", ".join(f"{p} {n}" for p, n in report.parts.items())
    published = f" of {job.card.clips} published" if job.card.clips else ""
    say(f"  clips: {sum(report.parts.values())}{published} ({parts}); {len(report.groups)} groups")
    say(*(f"  {line}" for line in [*report.copies, *report.problems.lines()]))
    if report.missing and job.card.raw_media:
        say(f"  media: {job.card.raw_media}")
    if report.other_case:
        say(f"  note: {report.other_case} media files were found under another letter case")
    if report.problems.errors:
        say(f"{report.problems.errors} errors: " + ("nothing was written" if out else "convert would refuse this"))
    else:
        say(f"{report.records} records, {report.missing} media files missing" + (f"; {out}" if out else ""))
    give(report.numbers())


@command("datasets")
def datasets() -> None:
    """Datasets with a card, tab-separated: name, aspects, scale, direction, labels, clips, licence, confidence."""
    from data_recipes.datasets.card import card_names, load_card

    typer.echo("name\taspects\tscale\tdirection\tlabels\tclips\tlicence\tconfidence")
    for card in map(load_card, card_names()):
        known = list(card.aspects.values())
        scales = dict.fromkeys("not published" if s is None else f"{s.low:g}..{s.high:g}" for s in known)
        words = dict.fromkeys(
            "not published" if s is None else "higher" if s.higher_is_better else "LOWER" for s in known
        )
        columns = [card.name, ",".join(card.aspects), ",".join(scales), ",".join(words), ",".join(card.labels)]
        typer.echo("\t".join([*columns, str(card.clips or "-"), card.licence, card.confidence]))


@command("fetch")
def fetch(
    name: Annotated[str | None, typer.Argument(help="Data set; without one all are listed (tab-separated).")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder; default: data/NAME.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Download. Without it the steps are only told.")] = False,
    ids: Annotated[Path | None, typer.Option(help="List of YouTube ids or addresses, one per line.")] = None,
    wait: Annotated[
        tuple[float, float], typer.Option(help="Bounds of the random pause between two videos, seconds.")
    ] = (5.0, 20.0),
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try videos again that failed before.")] = False,
) -> None:
    """Tell how to get a data set; with --yes, download it where its owner allows that. Repeat to resume.

    Prints the paths of what was downloaded.
    """
    from data_recipes.fetch import FetchError, catalogue, way

    if name is None:
        for known, how in sorted(catalogue().items()):
            typer.echo(f"{known}\t{how.kind}\t{how.homepage}")
        return
    how, folder = way(name), out or Path("data") / name
    _tell_way(name, how)
    if how.kind == "youtube" and ids is None and yes:
        raise ConfigError("a list of videos is needed (--ids FILE)")
    if ids is not None and how.kind != "youtube":
        raise ConfigError(f"--ids is for youtube, {name} is {how.kind}")
    if not yes:
        return
    if how.kind == "manual":
        say("this one is not downloaded by a program; see the steps")
        raise typer.Exit(1)
    try:
        if ids is not None:
            _videos(ids, folder, wait, retry_failed)
        else:
            _files(how, folder)
    except FetchError as e:
        say(f"error: {e}")
        raise typer.Exit(1) from e


def _tell_way(name: str, how: Fetch) -> None:
    from data_recipes.datasets.card import card_names, load_card

    say(f"{name}: {how.kind}, {how.homepage}")
    for file in how.files:
        checks = [f"{file.bytes:,} bytes"] if file.bytes else []
        checks += [f"md5 {file.md5}"] if file.md5 else []
        say(f"  {file.url}" + (f" ({', '.join(checks)})" if checks else ""))
    if how.repo:
        say(f"  data set repository {how.repo}")
    say(*(f"  {step}" for step in how.steps))
    licence = load_card(name).licence if name in card_names() else "see the homepage"
    say(f"  Licence: {licence}. Read it before you use the data.")
    if how.kind != "manual":
        say("  Download with --yes.")


def _files(how: Fetch, folder: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from data_recipes.fetch import fetch as get

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(file: str, done: int, whole: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=whole)
            bar.update(tasks[file], completed=done, total=whole)

        got = get(how, folder, progress)
    for path in got:
        typer.echo(path)


def _videos(ids: Path, folder: Path, wait: tuple[float, float], retry_failed: bool) -> None:
    from data_recipes.youtube import STATE, fetch_videos, read_ids

    told: Any = lambda id, place, of: say(f"{place + 1}/{of} {id}")  # noqa: E731
    done = fetch_videos(read_ids(ids), folder, wait, retry_failed, told)
    say(*(f"failed: {id}: {why}" for id, why in done.failed.items()))
    say(f"{done.made} downloaded, {done.kept} there before, {len(done.failed)} failed")
    typer.echo(folder / STATE)
    if done.failed:
        raise typer.Exit(1)


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
        _tell_votes(read, chosen, per_clip, lies)
    if out is not None:
        write_rows(out, per_clip)
    for line in table(per_clip):
        typer.echo(line)


def _tell_votes(read: Votes, chosen: Estimate, per_clip: list[dict[str, Any]], layout: str) -> None:
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
    from data_recipes.votes.estimates import bradley_terry, read_pairs

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
