"""`avqa.yaml`, the card of a checkpoint. The runtime reads everything it needs from here and guesses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mllm_avqa.schema.calibration import Calibration
from mllm_avqa.schema.clip import DecodeSpec
from mllm_avqa.schema.comparison import PairRules
from mllm_avqa.schema.errors import CheckpointError
from mllm_avqa.schema.files import read_yaml, whole_file
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.names import ASPECTS, LANGUAGES

CARD_FILE = "avqa.yaml"
SCORING = {"aspects", "facts", "isolate", "level_words", "lists_faults", "pixels", "pooling", "views"}


class ViewSpec(BaseModel):
    """What of a clip the model sees. Equal specs give equal pixels for equal clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_seconds: float = Field(default=8.0, gt=0)
    hop_seconds: float = Field(default=8.0, gt=0)  # from one window's start to the next
    max_windows: int = Field(default=8, ge=1)  # longer clips are sampled at this many evenly spread windows
    segments: int = Field(default=4, ge=1)  # native frame groups per window
    frames_per_segment: int = Field(default=2, ge=1)
    global_pixels: int = 84 * 140  # budget of one whole-frame view, one patch at least
    fragment_grid: tuple[int, int] = (6, 6)  # rows, columns of native mini-patches
    patch: int = 28  # side of a mini-patch = patch x merge of the backbone: one visual token
    audio_rate: int = 16000  # Hz, mono

    @model_validator(mode="after")
    def _shows_a_patch(self) -> ViewSpec:
        if self.global_pixels < self.patch**2:
            raise ValueError(
                f"global_pixels {self.global_pixels} is less than one patch of {self.patch} x {self.patch}: "
                f"at least {self.patch**2}"
            )
        return self

    def decode(self, start: float = 0.0) -> DecodeSpec:
        return DecodeSpec(
            start=start,
            duration=self.window_seconds,
            segments=self.segments,
            frames_per_segment=self.frames_per_segment,
        )


class Pixels(BaseModel):
    """How the vision tower wants its pixels: (value / 255 - mean) / std, one number for all three colours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    std: float = Field(gt=0)
    energies: bool = False  # a fourth channel: log energies of frequency bands (`model.energies`)


class Pooling(BaseModel):
    """Clip score = (1 - worst) * mean of the windows + worst * lowest window."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    worst: float = Field(default=0.3, ge=0.0, le=1.0)


class FindingRules(BaseModel):
    """How a checkpoint's answers become findings: `findings.read`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(default=1.0, gt=0)  # the log-odds that a kind is there are divided by it
    bias: float = 0.0  # and this is added
    bearing: float = Field(default=0.5, ge=0)  # log-odds of a kind for every step of severity that facts measure of it
    threshold: float = Field(default=0.5, gt=0, lt=1)  # a kind this probable is a finding
    kinds: tuple[str, ...] = ()  # it was taught; empty: all
    measured: dict[str, object] = {}  # on clips that settled none of these


class Card(BaseModel):
    """Checkpoint card. Unknown keys are errors: a card that means more than this code knows must not be half read."""

    model_config = ConfigDict(extra="forbid")

    name: str
    family: str  # key of mllm_avqa.model.backbones.FAMILIES
    base_model: str | None = None  # hub name or path when the directory holds an adapter only
    revision: str | None = None
    aspects: list[str] = Field(default=list(ASPECTS), min_length=1)
    level_words: list[str] = list(WORDS)
    views: ViewSpec = ViewSpec()
    pixels: Pixels | None = None  # None: as the backbone family normalises
    pooling: Pooling = Pooling()
    prompts: str = "1"  # version of prompts/*.yaml it was trained with
    facts: Literal["values", "grades"] = "values"  # how evidence is written: `prompting.facts`
    lists_faults: bool = False  # taught to list the faults of each side, and to explain with its lists: `explain.write`
    languages: list[str] = Field(default=list(LANGUAGES), min_length=1)  # it can be asked in
    isolate: bool = True  # a modality's own tokens are hidden from the scores of the other modality
    limits: str = ""  # printed where the checkpoint is used
    licence: str = "Apache-2.0"
    training: dict[str, object] = {}  # provenance: recipe, sources, steps, hardware
    results: dict[str, object] = {}  # measured on held-out sources
    free_text: bool = False  # explanations in its own words; otherwise of the wordings in prompts/explain.*.yaml
    findings: FindingRules = FindingRules()
    compares: bool = False  # taught questions on two clips, the second one's segments behind the first's
    pairs: PairRules | None = None  # how differences of scores are read; `python -m eval pairs --write-card`
    calibration: Calibration | None = None  # intervals of the scores; `python -m eval calibrate --write-card`

    @field_validator("aspects")
    @classmethod
    def _known(cls, aspects: list[str]) -> list[str]:
        unknown = sorted(set(aspects).difference(ASPECTS))
        if unknown:
            raise ValueError(f"unknown aspect {unknown[0]!r}; allowed are {', '.join(ASPECTS)}")
        return aspects

    @property
    def scoring(self) -> str:
        """Everything in it that decides a score, apart from weights and prompts."""
        return repr(self.model_dump(include=SCORING))

    @classmethod
    def load(cls, directory: Path) -> Card:
        path = directory / CARD_FILE
        if not path.is_file():
            raise CheckpointError(f"{directory} has no {CARD_FILE}: not a checkpoint of this project (--checkpoint)")
        try:
            return cls.model_validate(read_yaml(path, CheckpointError))
        except ValidationError as e:
            raise CheckpointError(f"{path}: {e}") from e

    def save(self, directory: Path) -> None:
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
        with whole_file(directory / CARD_FILE) as part:
            part.write_text(text, encoding="utf-8")
