"""Training configuration: one YAML runs the stages in order."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mllm_avqa.card import ViewSpec
from mllm_avqa.errors import ConfigError
from mllm_avqa.prompting import FactStyle
from train.tiny import Size


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Build(Strict):
    """Start from random weights: a new tokenizer from prompts and records, a model of this size."""

    size: Size = Size()
    see_bands: bool = True  # the vision tower starts as an analyser of frequency bands: quality lives in their energies


class Lora(Strict):
    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    experts: bool = False  # also the experts of a mixture: much slower and many more parameters


class Weights(Strict):
    """Loss weights."""

    answer: float = 1.0
    kl: float = 1.0
    mass: float = 0.05
    rank: float = 1.0


class Mixture(Strict):
    """How many questions of each stage are packed behind one clip (a fraction is a probability)."""

    stage1: float = 0.0
    stage2: float = 0.0  # 1 = every aspect of the clip
    stage3: float = 0.0


class Dropout(Strict):
    """Share of rows that lose a part of the input, so that no part is leaned on alone."""

    facts: float = 0.25  # evidence of one modality
    views: float = 0.1  # pixels or sound (never together with the facts of the same modality)
    context: float = 0.1
    blind: float = 0.0  # share of batches without any pixels and sound: facts are learnt at a third of the cost


class Stage(Strict):
    name: str
    steps: int = Field(gt=0)
    batch: int = Field(8, gt=0)
    accumulate: int = Field(1, gt=0)
    lr: float = 1e-3
    warmup: float = Field(0.03, ge=0, lt=1)
    mixture: Mixture = Mixture()
    weights: Weights = Weights()
    dropout: Dropout = Dropout()
    tune: Literal["full", "lora"] = "full"
    lora: Lora = Lora()
    freeze_towers: bool = False
    # Rows of facts alone, mixed and labelled by a teacher (`practice`); `mixture.stage1` questions in each.
    practice: bool = False
    save_every: int = 200


class Warmup(Strict):
    """Towers alone: distortion kind and level, and the modality's score, from pooled tower outputs."""

    steps: int = Field(gt=0)
    batch: int = 16
    lr: float = 1e-3


class Config(Strict):
    name: str
    records: Path
    output: Path
    init: Path | None = None  # a checkpoint directory; without it `build` makes one
    build: Build = Build()
    views: ViewSpec = ViewSpec()
    facts: FactStyle = "values"  # how evidence is written; a small model reads "grades" better
    teacher: bool = False  # levels come from forests on the facts of the training clips, wherever facts are shown
    languages: list[Literal["en", "zh"]] = ["en", "zh"]
    warmup: Warmup | None = None
    stages: list[Stage]
    seed: int = 0
    bf16: bool = True
    threads: int | None = None
    val_clips: int = 120  # held-out clips scored after every save
    limits: str = ""  # goes into the card
    licence: str = "Apache-2.0"

    @model_validator(mode="after")
    def _practice_is_taught(self) -> Config:
        untaught = [s.name for s in self.stages if s.practice and not self.teacher]
        if untaught:
            raise ValueError(f"practice in stage {', '.join(untaught)} needs `teacher: true`")
        return self


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML; `a.b=c` overrides (list items by index).

    Raises ConfigError; for an unknown key it names the nearest one.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"config {path} does not exist")
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    for item in overrides or []:
        key, _, value = item.partition("=")
        node: Any = data
        *parents, last = key.split(".")
        try:
            for p in parents:
                node = node[int(p)] if isinstance(node, list) else node.setdefault(p, {})
            node[int(last) if isinstance(node, list) else last] = yaml.safe_load(value)
        except (ValueError, IndexError, TypeError, AttributeError) as e:
            raise ConfigError(f"--set {item}: no such place in {path}") from e
    try:
        return Config.model_validate(data)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(x) for x in first["loc"])
        hint = ""
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(first["loc"][-1]), sorted(_keys(Config)), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{path}: {where}: {first['msg']}{hint}") from e


def _keys(model: type[BaseModel]) -> set[str]:
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        keys.add(name)
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys |= _keys(inner)
    return keys
