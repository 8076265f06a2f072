"""`convert`, `datasets`: label files of public datasets, and of a user's own, to records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_recipes.commands import fail
from mllm_avqa.schema.errors import AvqaError, ConfigError

if TYPE_CHECKING:
    from data_recipes.datasets.convert import Job
    from data_recipes.datasets.mapping import Mapping
    from data_recipes.datasets.report import Report

ASPECTS = ("overall", "video", "audio", "sync", "text")
MISSING = ("fail", "keep", "drop")
Pairs = list[str] | None


def convert(
    name: Annotated[str, typer.Argument(help="Name of the dataset (see `datasets`), or custom.")],
    root: Annotated[Path, typer.Argument(help="Folder with the set's label files; for custom: the CSV or JSONL file.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Record file to write.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Read everything, report, write nothing.")] = False,
    missing: Annotated[str, typer.Option(help="Clips without a media file: fail, keep or drop.")] = "fail",
    media_root: Annotated[Path | None, typer.Option(help="Folder the media paths start from, if not ROOT.")] = None,
    layout: Annotated[str | None, typer.Option(help="Published copy to use, where several lie below ROOT.")] = None,
    part: Annotated[Pairs, typer.Option(help="Only this part or split of the set; may be repeated.")] = None,
    mapping: Annotated[Path | None, typer.Option("--map", help="YAML file that says which column holds what.")] = None,
    name_column: Annotated[str | None, typer.Option(help="Column with the media path.")] = None,
    score_column: Annotated[Pairs, typer.Option(help="ASPECT=COLUMN; may be repeated.")] = None,
    std_column: Annotated[Pairs, typer.Option(help="ASPECT=COLUMN with the std of the ratings.")] = None,
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

    flags = dict(
        dataset=dataset, name=name_column, scores=_pairs("--score-column", score_column),
        std=_pairs("--std-column", std_column), scale=_scale(scale), higher_is_better=higher_is_better,
        group=group_column, split=split_column, decimal=decimal, per_rating=per_rating or None,
        columns=[c.strip() for c in columns.split(",")] if columns else None,
    )  # fmt: skip
    try:
        if missing not in MISSING:
            raise ConfigError(f"--missing {missing}: known are {', '.join(MISSING)}")
        if (out is None) != check:
            raise ConfigError("give either -o OUT.jsonl or --check")
        job = _job(name, root, mapping, {k: v for k, v in flags.items() if v not in (None, {})})
        job = _with(job, layout=layout, media_root=media_root, missing=missing, parts=tuple(part or ()))
        report = run(job, out)
    except AvqaError as e:
        raise fail(e) from e
    _tell(job, report, out)
    if report.problems.errors:
        raise typer.Exit(2)


def _pairs(flag: str, given: Pairs) -> dict[str, str]:
    pairs = {aspect: column for aspect, _, column in (p.partition("=") for p in given or ())}
    for aspect, column in pairs.items():
        if aspect not in ASPECTS or not column:
            allowed = f"expected ASPECT=COLUMN, e.g. {flag} video=mos; aspects are {', '.join(ASPECTS)}"
            raise fail(ConfigError(f"{flag} {aspect}={column}: {allowed}"))
    return pairs


def _scale(given: str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        low, high = (float(x) for x in given.split(":"))
    except ValueError:
        raise fail(ConfigError(f"--scale {given}: expected LOW:HIGH, e.g. 1:5")) from None
    return low, high


def _job(name: str, root: Path, path: Path | None, flags: dict[str, object]) -> Job:
    from data_recipes.datasets.card import load_card, parse
    from data_recipes.datasets.convert import Job
    from data_recipes.datasets.mapping import Mapping, custom_card, load_mapping, mapped_card, native_scale

    base = load_mapping(path).model_dump(exclude_unset=True) if path else {}
    mapping: Mapping = parse(Mapping, {**base, **flags}, path or "flags")
    if name == "custom":
        if not root.is_file():
            raise ConfigError(f"{root}: convert custom needs a CSV, JSONL or XLSX file")
        return Job(custom_card(mapping, root), root.parent)
    card = load_card(name)
    if path is not None or mapping.name:
        return Job(mapped_card(card, mapping), root)
    if not card.layouts:
        raise ConfigError(
            f"the columns of {name} were never seen: say them with --map FILE.yaml (file:, name:, scores:). "
            f"Files in {root}: {', '.join(sorted(p.name for p in root.glob('*'))[:10]) or 'none'}"
        )
    known = [a for a, s in card.aspects.items() if s is not None]
    if mapping.scale and len(known) == len(card.aspects):
        raise ConfigError(f"--scale: the card of {name} states the scale already; it cannot be changed")
    direction = {"higher_is_better": True, **flags} if mapping.scale else flags
    return Job(card, root, scale=native_scale(parse(Mapping, direction, "flags")))


def _with(job: Job, **fields: object) -> Job:
    from dataclasses import replace

    return replace(job, **fields)  # type: ignore[arg-type]


def _tell(job: Job, report: Report, out: Path | None) -> None:
    say = lambda line: typer.echo(line, err=True)  # noqa: E731
    say(f"{report.dataset}: copy {report.layout!r}: {', '.join(report.files)}")
    for aspect, r in report.aspects.items():
        direction = "higher is better" if r.higher_is_better else "LOWER is better"
        scores = f"{r.n} scores {r.low:.4g}..{r.high:.4g}, mean {r.mean:.4g}"
        scale = f"scale {r.scale[0]:g}..{r.scale[1]:g}, {direction}"
        say(f"  {aspect}: {scores}, {scale}, {r.with_std} with std, {r.with_votes} with votes")
    parts = ", ".join(f"{p} {n}" for p, n in report.parts.items())
    published = f" of {job.card.clips} published" if job.card.clips else ""
    say(f"  clips: {sum(report.parts.values())}{published} ({parts}); {len(report.groups)} groups")
    for line in [*report.copies, *report.problems.lines()]:
        say(f"  {line}")
    if report.missing and job.card.raw_media:
        say(f"  media: {job.card.raw_media}")
    if report.other_case:
        say(f"  note: {report.other_case} media files were found under another letter case")
    if report.problems.errors:
        say(f"{report.problems.errors} errors: " + ("nothing was written" if out else "convert would refuse this"))
    else:
        say(f"{report.records} records, {report.missing} media files missing" + (f"; {out}" if out else ""))
    typer.echo(json.dumps(report.numbers(), ensure_ascii=False))


def datasets() -> None:
    """Datasets with a card, tab-separated: name, aspects, scale, direction, labels, clips, licence, confidence."""
    from data_recipes.datasets.card import card_names, load_card

    typer.echo("name\taspects\tscale\tdirection\tlabels\tclips\tlicence\tconfidence")
    for name in card_names():
        card = load_card(name)
        scales = {"not published" if s is None else f"{s.low:g}..{s.high:g}": None for s in card.aspects.values()}
        directions = {
            "not published" if s is None else "higher" if s.higher_is_better else "LOWER": None
            for s in card.aspects.values()
        }
        columns = [name, ",".join(card.aspects), ",".join(scales), ",".join(directions), ",".join(card.labels)]
        typer.echo("\t".join([*columns, str(card.clips or "-"), card.licence, card.confidence]))


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("convert")(convert)
    app.command("datasets")(datasets)
