"""A user's own columns: for `convert custom`, and for sets whose columns were never seen."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from data_recipes.datasets.card import (
    Aspect,
    CardModel,
    DatasetCard,
    LabelFile,
    Layout,
    NativeScale,
    Reader,
    ScoreColumn,
    Split,
    SplitColumn,
    load_card,
    parse,
    read_yaml,
)
from data_recipes.datasets.convert import ConversionJob
from data_recipes.datasets.locate import needed
from data_recipes.datasets.tables import read_rows
from mllm_avqa.schema.errors import ConfigError

READERS: dict[str, Reader] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".xlsx": "xlsx", ".mat": "mat",
}  # fmt: skip


class Mapping(CardModel):
    """Which column holds what. Every field has a flag of `convert custom` except the last block."""

    dataset: str = "custom"
    file: str | None = None  # label file below ROOT, for a set with a card
    name: str | None = None  # column with the media path
    scores: dict[Aspect, ScoreColumn | str] = Field(default_factory=dict)
    std: dict[Aspect, str] = Field(default_factory=dict)
    scale: tuple[float, float] | None = None
    higher_is_better: bool | None = None
    group: str | None = None
    split: str | None = None
    per_rating: bool = False
    columns: list[str] | dict[str, str] | None = None
    separator: str | None = None
    decimal: str = "."
    media: list[str] | None = None  # templates, e.g. ["clips/{name}.mp4"]; default: the name column
    split_values: dict[str, Split] = Field(default_factory=dict)
    overshoot: float = 0.0
    sheet: str | None = None
    licence: str = "not stated"


def job_of(name: str, root: Path, path: Path | None, flags: dict[str, object]) -> ConversionJob:
    """What `convert NAME ROOT` is to do: the set's own card, or a mapping of a file and of flags (which win).

    Raises ConfigError for an unreadable file, an unknown key, a set without a card and for what a mapping lacks.
    """
    base = parse(Mapping, read_yaml(path), path).model_dump(exclude_unset=True) if path else {}
    mapping: Mapping = parse(Mapping, {**base, **flags}, path or "flags")
    if name == "custom":
        if not root.is_file():
            raise ConfigError(f"{root}: convert custom needs a CSV, JSONL or XLSX file")
        return ConversionJob(custom_card(mapping, root), root.parent)
    card = load_card(name)
    if path is not None or mapping.name:
        return ConversionJob(mapped_card(card, mapping), root)
    if not card.layouts:
        raise ConfigError(
            f"the columns of {name} were never seen: say them with --map FILE.yaml (file:, name:, scores:). "
            f"Files in {root}: {', '.join(sorted(p.name for p in root.glob('*'))[:10]) or 'none'}"
        )
    if mapping.scale and all(scale is not None for scale in card.aspects.values()):
        raise ConfigError(f"--scale: the card of {name} states the scale already; it cannot be changed")
    direction = {"higher_is_better": True, **flags} if mapping.scale else flags
    return ConversionJob(card, root, scale=native_scale(parse(Mapping, direction, "flags")))


def as_layout(mapping: Mapping, file: str) -> Layout:
    """The layout a mapping describes. Raises ConfigError naming the flag for what is missing or wrong."""
    if not mapping.name:
        raise ConfigError("which column names the media file? --name-column COLUMN (name: in a mapping)")
    if not mapping.scores:
        raise ConfigError("which column holds which score? --score-column ASPECT=COLUMN (scores: in a mapping)")
    reader = READERS.get(Path(file).suffix.lower())
    if reader is None:
        raise ConfigError(f"{file}: unknown kind of table; known: {', '.join(READERS)}")
    if reader == "csv" and mapping.columns is not None:
        reader = "headerless"
    scores = {a: ScoreColumn(column=s) if isinstance(s, str) else s for a, s in mapping.scores.items()}
    for aspect, column in mapping.std.items():
        if aspect not in scores:
            raise ConfigError(f"--std-column {aspect}={column}: there is no --score-column for {aspect}")
        scores[aspect] = scores[aspect].model_copy(update={"std": column})
    name = "{" + mapping.name + "}"
    fields = dict(
        name="mapping",
        files=[LabelFile(match=[file])],
        reader=reader,
        separator=mapping.separator,
        decimal=mapping.decimal,
        columns=mapping.columns,
        sheet=mapping.sheet,
        key=name,
        media=mapping.media or [name],
        group=[*(["{" + mapping.group + "}"] if mapping.group else []), "{key}"],
        split=SplitColumn(column=mapping.split, values=mapping.split_values) if mapping.split else None,
        per_rating=mapping.per_rating,
        scores=scores,
        seen="U",
    )
    layout: Layout = parse(Layout, fields, file)
    return layout


def check_columns(mapping: Mapping, path: Path, layout: Layout) -> None:
    """Raises ConfigError naming the flag of the first mapped column that the file lacks."""
    row = next(read_rows(path, layout, needed(layout, layout.files[0])), None)
    if row is None:
        raise ConfigError(f"{path}: no rows")
    named = [("--name-column", mapping.name), ("--group-column", mapping.group), ("--split-column", mapping.split)]
    named += [("--score-column", c) for s in layout.scores.values() for c in s.columns if c != s.std]
    named += [("--std-column", s.std) for s in layout.scores.values()]
    for flag, column in named:
        if column is not None and column not in row.cells:
            raise ConfigError(f"{path}: no column {column!r} ({flag}); it has: {', '.join(map(repr, row.cells))}")


def native_scale(mapping: Mapping) -> NativeScale | None:
    """The stated scale, or None if none is stated. Raises ConfigError for half a statement."""
    if mapping.scale is None and mapping.higher_is_better is None:
        return None
    if mapping.scale is None:
        raise ConfigError("on which scale are the scores? --scale LOW:HIGH of the study, e.g. 1:5 (not of the data)")
    if mapping.higher_is_better is None:
        raise ConfigError("which direction do the scores have? --higher-is-better or --lower-is-better")
    fields = dict(low=mapping.scale[0], high=mapping.scale[1], higher_is_better=mapping.higher_is_better)
    scale: NativeScale = parse(NativeScale, {**fields, "overshoot": mapping.overshoot}, "--scale")
    return scale


def custom_card(mapping: Mapping, file: Path) -> DatasetCard:
    """A card for a user's file. Raises ConfigError where scale, direction or a named column are missing."""
    layout, scale = as_layout(mapping, file.name), native_scale(mapping)
    check_columns(mapping, file, layout)
    unknown = [a for a, s in layout.scores.items() if s.scale is None and scale is None]
    if unknown:
        raise ConfigError(
            f"scale and direction of {', '.join(unknown)} are not stated: "
            "--scale LOW:HIGH and --higher-is-better or --lower-is-better"
        )
    return DatasetCard(
        name=mapping.dataset,
        title=mapping.dataset,
        homepage="",
        licence=mapping.licence,
        modalities=["video"],
        aspects={a: s.scale or scale for a, s in layout.scores.items()},
        labels=["mean"],
        group_by=mapping.group or "the clip itself",
        split=mapping.split or "none",
        confidence="U",
        layouts=[layout],
    )


def mapped_card(card: DatasetCard, mapping: Mapping) -> DatasetCard:
    """A dataset's card with the user's columns instead of its layouts; its scale stays where it states one."""
    if mapping.file is None:
        raise ConfigError(f"--map for {card.name} needs `file:`, the label file below ROOT")
    layout, scale = as_layout(mapping, mapping.file), native_scale(mapping)
    unknown = sorted(set(layout.scores) - set(card.aspects))
    if unknown:
        raise ConfigError(f"{card.name} has no scores of {', '.join(unknown)}; it has: {', '.join(card.aspects)}")
    aspects = {a: s or scale for a, s in card.aspects.items()}
    return card.model_copy(update={"layouts": [layout], "aspects": aspects})
