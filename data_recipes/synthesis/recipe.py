"""The recipe file: which sources, how long, which faults how often, which sources are held out."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_recipes.synthesis.pseudo_mos import Mode
from mllm_avqa.schema.errors import ConfigError

SPLITS = ("train", "val", "test")
MediaKind = Literal["video", "audio", "photo", "generated"]
MODALITIES = ("video", "audio", "sync", "text")


class _RecipeModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSpec(_RecipeModel):
    """One folder or package of sources. A source's id is `<name>/<path without suffix, relative to the folder>`."""

    name: str
    kind: MediaKind
    folder: str = ""  # under --sources; with `root: repository` under the repository; with a package absolute
    root: Literal["sources", "repository"] = "sources"
    files: list[str] = []  # glob patterns under the folder
    exclude: list[str] = []
    package: str | None = None  # Debian package that installs the folder
    spoken: bool = False  # only files with a transcript
    licence: str = ""  # a manifest.csv beside or above a --sources folder says it per file and wins
    ceilings: dict[str, float] = {}  # MOS of the untouched source by aspect, when no manifest grades it


class Override(_RecipeModel):
    """Ceilings for the sources that match a pattern: what a manifest cannot know (wind in the sound, grain)."""

    match: str
    ceilings: dict[str, float]


class Mixture(_RecipeModel):
    """Weights of the families, one drawn per clip. They need not sum to 1."""

    both: float = Field(ge=0)  # faults of picture and sound, levels drawn independently
    video: float = Field(ge=0)  # picture only: the sound stays untouched
    audio: float = Field(ge=0)  # sound only
    clean: float = Field(ge=0)
    sync: float = Field(ge=0)
    text: float = Field(ge=0)


class FaultShares(_RecipeModel):
    """Probabilities between 0 and 1."""

    partial: float = Field(default=0.3, ge=0, le=1)  # a fault concerns a part of the clip
    region: float = Field(default=0.0, ge=0, le=1)  # a picture fault concerns a rectangle of the picture, if it can
    second: float = Field(default=0.12, ge=0, le=1)  # a second fault of the same side
    extra: float = Field(default=0.4, ge=0, le=1)  # picture and/or sound faults on top of a sync or text fault
    clean_captions: float = Field(default=0.08, ge=0, le=1)  # faultless captions on a clip of another family
    silent: float = Field(default=0.2, ge=0, le=1)  # of clips without a sound fault: no sound at all
    unseen: float = Field(default=0.12, ge=0, le=1)  # of clips without a picture fault: no picture at all
    photo: float = Field(default=0.2, ge=0, le=1)  # the picture is a photo that is panned over
    borrow: float = Field(default=0.85, ge=0, le=1)  # a picture without sound of its own borrows some
    stills: float = Field(default=0.0, ge=0, le=1)  # of clips with no fault but of the picture: one frame, many sizes
    looks: float = Field(default=0.0, ge=0, le=1)  # the picture is graded and mirrored before its faults
    burn: float = Field(default=0.3, ge=0, le=1)  # captions are drawn into the picture, not stored as a subtitle stream
    aside: float = Field(default=0.08, ge=0, le=1)  # user text that must not move any score, every second one an attack


class Recipe(_RecipeModel):
    name: str
    version: int = 1
    seed: int = Field(default=0, ge=0)
    clips: int = Field(gt=0)
    seconds: float = Field(gt=0.5, le=60)
    max_height: int = Field(ge=64, le=4320)
    crf: int = Field(default=14, ge=0, le=40)  # x264 quality of the finished clips: far above what any fault leaves
    preset: str = "ultrafast"
    labels: Mode = "dose"  # what a fault is worth: its dose, what is measured on the clip itself, or the mean of both
    step: float = Field(default=1.0, gt=0)  # window starts are multiples of this: repeats are decoded once
    languages: list[Literal["en", "zh"]] = ["en", "zh"]
    questions: dict[Literal[1, 2, 3], int] = {1: 2, 2: 2, 3: 1}  # stored per stage and language
    style: Literal["short", "steps"] = "short"  # of questions and descriptions; short is what a tiny model learns
    grades: dict[str, float] = {"good": 4.7, "fair": 4.3, "low": 3.4}  # picture ceiling by manifest grade
    sources: list[SourceSpec] = Field(min_length=1)
    overrides: list[Override] = []
    mute: list[str] = []  # id patterns of pictures whose own sound is not used: it has faults nobody wrote down
    groups: dict[str, list[str]] = {}  # sources that show the same content, by pattern: they share one group
    splits: dict[Literal["train", "val", "test"], float]
    test: list[str] = []  # id patterns of held-out sources
    val: list[str] = []
    mixture: Mixture
    shares: FaultShares = FaultShares()
    levels: tuple[float, float, float, float, float] = (1, 1, 1, 1, 1)  # weights of levels 1..5
    kinds: dict[str, float] = {}  # weight of a kind, default 1; 0 leaves it out
    mended: bool = False  # every clip with several faults is made once more without each: what a fix is worth
    transcripts: str | None = None  # YAML beside the recipe: source id -> what is said

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [s.name for s in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two sources share a name")
        if sum(self.levels) <= 0 or min(self.levels) < 0:
            raise ValueError("levels: weights must be 0 or more and not all 0")
        if sum(self.mixture.model_dump().values()) <= 0:
            raise ValueError("mixture: all weights are 0")
        if sum(self.splits.values()) <= 0 or min(self.splits.values()) < 0:
            raise ValueError("splits: weights must be 0 or more and not all 0")
        return self

    def split_of(self, source: str) -> Literal["train", "val", "test"]:
        """The split that holds this source id. Raises ConfigError when test and val both claim it."""
        held: list[Literal["val", "test"]] = []
        if any(fnmatchcase(source, p) for p in self.test):
            held.append("test")
        if any(fnmatchcase(source, p) for p in self.val):
            held.append("val")
        if len(held) > 1:
            raise ConfigError(f"source {source!r} is listed in both test and val of recipe {self.name!r}")
        return held[0] if held else "train"

    def group_of(self, source: str) -> str:
        """The content group of a source id: its own id unless `groups` joins it to others."""
        for group, patterns in self.groups.items():
            if any(fnmatchcase(source, p) for p in patterns):
                return group
        return source


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file. Raises ConfigError naming the file, the key and, for an unknown key, the nearest one.

    `extends: FILE` (beside it) takes over another recipe: mappings are merged key by key, all else is replaced.
    """
    path = Path(path)
    try:
        return Recipe.model_validate(_extended(path, ()))
    except ValidationError as e:
        raise ConfigError(f"{path}: {_explain(e)}") from e


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"recipe {path} does not exist" + (f" (extends in {seen[-1]})" if seen else ""))
    if path.resolve() in seen:
        raise ConfigError(f"recipe {path} extends itself (extends in {seen[-1]})")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: not YAML: {e}") from e
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of keys, this is {type(data).__name__}")
    if (name := data.pop("extends", None)) is None:
        return data
    below = _extended(path.parent / str(name), (*seen, path.resolve()))
    both = {k: below[k] | v for k, v in data.items() if isinstance(v, dict) and isinstance(below.get(k), dict)}
    return below | data | both


def load_transcripts(recipe: Recipe, path: str | Path) -> dict[str, str]:
    """Source id -> what is said, of the file the recipe names (relative to the recipe)."""
    if recipe.transcripts is None:
        return {}
    file = Path(path).parent / recipe.transcripts
    if not file.is_file():
        raise ConfigError(f"{path}: transcripts: file {file} does not exist")
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: transcripts are a mapping from source id to text")
    return {str(k): str(v) for k, v in data.items()}


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(x) for x in item["loc"])
        if item["type"] == "extra_forbidden":
            model: type[BaseModel] = _model_at(item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), model.model_fields, n=1, cutoff=0.0)
            lines.append(f"{where}: unknown key; nearest: {near[0]}; allowed: {', '.join(model.model_fields)}")
        else:
            lines.append(f"{where or 'recipe'}: {item['msg']} (got {str(item.get('input'))[:80]})")
    return "; ".join(lines)


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    inner: dict[str, type[BaseModel]] = {
        "sources": SourceSpec,
        "overrides": Override,
        "mixture": Mixture,
        "shares": FaultShares,
    }
    return inner.get(str(loc[0]), Recipe) if loc else Recipe
