"""The dataset card: scale, direction, splits, expected counts, and where each published copy keeps its columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mllm_avqa.schema.errors import ConfigError

CARDS = Path(__file__).parent / "cards"
Aspect = Literal["overall", "video", "audio", "sync", "text"]
Split = Literal["train", "val", "test"]
Reader = Literal["csv", "headerless", "jsonl", "xlsx", "mat", "live_image", "fetv", "vmaf"]
Confidence = Literal["V", "R", "U"]  # seen in real files; from a readme or loader; uncertain
SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


class CardModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NativeScale(CardModel):
    """Nominal scale of the study. `overshoot`: published scores may lie this far outside it (z-scored, realigned)."""

    low: float
    high: float
    higher_is_better: bool
    overshoot: float = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> NativeScale:
        if not self.high > self.low or self.overshoot < 0:
            raise ValueError(f"low {self.low} must be below high {self.high} and overshoot {self.overshoot} >= 0")
        return self


class ScoreColumn(CardModel):
    """Columns of one aspect. The mean is `column`, or it is computed from `ratings` or `counts`."""

    column: str | None = None  # a mean; a single rating where the layout says `per_rating`; or a list of ratings
    ratings: str | None = None  # pattern of columns with one rating each, e.g. "Subject*"
    counts: list[str] | None = None  # columns with votes (or shares) per level, lowest level first
    std: str | None = None
    std_scale: tuple[float, float] | None = None  # scale the std is on, where it is not the scale of the mean
    missing: float | None = None  # number that stands for "not rated"
    scale: NativeScale | None = None  # of this copy, where it differs from the card's

    @model_validator(mode="after")
    def _has_a_source(self) -> ScoreColumn:
        if sum(x is not None for x in (self.column, self.ratings)) != 1 and not (self.counts and not self.ratings):
            raise ValueError("one of column, ratings or counts says where the score is")
        return self

    @property
    def columns(self) -> set[str]:
        """Columns that must be in the file (patterns excepted)."""
        return {c for c in (self.column, self.std, *(self.counts or ())) if c}


class Derived(CardModel):
    """A new column: `template` filled with cells, group 1 of `pattern` (if given), then `lookup` (if given)."""

    template: str
    pattern: str | None = None
    lookup: dict[str, str] | None = None
    lower: bool = False


class LabelTable(CardModel):
    """How a file is laid out."""

    reader: Reader = "csv"
    separator: str | None = None  # None: found in the header line (csv) or a comma (headerless)
    columns: list[str] | dict[str, str] | None = None  # names (headerless), or name: variable (mat)
    lookup: dict[str, tuple[str, str]] = {}  # mat: new column: (table variable, variable of 1-based indices)
    transposed: bool = False  # csv: a column per clip
    sheet: str | None = None  # xlsx; None: the first

    @model_validator(mode="after")
    def _named(self) -> LabelTable:
        kind = {"headerless": list, "mat": dict}.get(self.reader)
        if kind is not None and (not isinstance(self.columns, kind) or not self.columns):
            raise ValueError(f"reader {self.reader} needs columns as a {kind.__name__}")
        return self


class Beside(LabelTable):
    """A second file with the same rows in the same order, whose columns are added; `agree` columns must be equal."""

    match: list[str]
    agree: dict[str, str] = {}  # column of this file: column of the main file
    optional: bool = False


class LabelFile(CardModel):
    """One label file of a copy: file name patterns below the root, what it holds and how many rows it should have."""

    match: list[str]
    part: str | None = None  # name of a part that is reported on its own, e.g. "1080p"; joins the dataset name
    split: Split | None = None
    rows: int | None = None
    sheet: str | None = None  # xlsx: of this part, where it is not the layout's
    beside: Beside | None = None


class SplitColumn(CardModel):
    column: str
    values: dict[str, Split] = {}


class Layout(LabelTable):
    """One published copy of the labels."""

    name: str
    files: list[LabelFile] = Field(min_length=1)
    decimal: Literal[".", ","] = "."
    derive: dict[str, Derived] = {}
    skip: dict[str, str] = {}  # rows where this column has this value are no rated clips (references)
    key: str  # template of the clip's name, the same in every copy
    media: list[str] = Field(min_length=1)  # templates below the media root; the first that exists is taken
    group: list[str] = ["{key}"]  # templates; the first that is not empty
    split: SplitColumn | None = None
    per_rating: bool = False  # a row is one rating, not one clip
    scores: dict[Aspect, ScoreColumn] = Field(min_length=1)
    refuse: str | None = None  # a known copy that must not be used, and why
    seen: Confidence = "R"


class DatasetCard(CardModel):
    name: str
    title: str
    homepage: str
    licence: str
    modalities: list[Literal["video", "audio", "image"]] = Field(min_length=1)
    aspects: dict[Aspect, NativeScale | None] = Field(min_length=1)  # None: no scale is published; --scale is needed
    labels: list[Literal["mean", "std", "votes", "ratings"]]  # what the best copy offers
    group_by: str  # what a group is, in words
    split: str  # the official split, in words
    clips: int | None = None  # as published
    confidence: Confidence
    notes: list[str] = []
    raw_media: str | None = None  # what has to be done before the media can be opened (raw video, separate sound)
    layouts: list[Layout] = []  # none: the columns were never seen; --map says them

    @model_validator(mode="after")
    def _consistent(self) -> DatasetCard:
        for layout in self.layouts:
            unknown = set(layout.scores) - set(self.aspects)
            if unknown:
                raise ValueError(f"layout {layout.name} scores {sorted(unknown)}, which the card does not list")
        names = [layout.name for layout in self.layouts]
        if len(set(names)) < len(names):
            raise ValueError(f"layouts with one name: {names}")
        return self

    def scale(self, aspect: Aspect, score: ScoreColumn) -> NativeScale | None:
        return score.scale or self.aspects.get(aspect)


def parse(model: type[CardModel], data: Any, path: str | Path) -> Any:
    """Validate YAML data. Raises ConfigError with the file and the first wrong key."""
    try:
        return model.model_validate(data)
    except ValidationError as e:
        first = min(e.errors(), key=lambda error: error["type"] != "extra_forbidden")  # a misspelt key before its lack
        where = ".".join(str(x) for x in first["loc"]) or "file"
        raise ConfigError(f"{path}: {where}: {first['msg']}") from e


def read_yaml(path: Path) -> Any:
    """Raises ConfigError for a missing or malformed file."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ConfigError(f"{path}: not a readable YAML file: {e}") from e


def card_names() -> list[str]:
    return sorted(p.stem for p in CARDS.glob("*.yaml"))


def load_card(name: str) -> DatasetCard:
    """Raises ConfigError for a name without a card."""
    path = CARDS / f"{name}.yaml"
    if name not in card_names():
        raise ConfigError(f"no dataset {name!r}; there are: {', '.join(card_names())}, and custom")
    card: DatasetCard = parse(DatasetCard, read_yaml(path), path)
    if card.name != name:
        raise ConfigError(f"{path}: name is {card.name!r}, the file says {name!r}")
    return card
