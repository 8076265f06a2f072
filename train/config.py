"""Training configuration: one YAML holds one stage or several, which run in order; how it is read."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mllm_avqa.model.checkpoint import EMBEDDED, resolve_checkpoint
from mllm_avqa.model.prompting import FactStyle
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import ConfigError

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Model = TypeVar("Model", bound=BaseModel)
PARTS = ("llm", "vision", "audio", "projectors")  # of a backbone: language model, the two towers, what joins them


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Size(Strict):
    """Widths and depths of the three parts of a model from random weights."""

    vocab: int = 1024
    llm: tuple[int, int] = (192, 4)  # width, layers
    vision: tuple[int, int] = (128, 3)
    audio: tuple[int, int] = (128, 3)
    heads: int = 4  # LLM attention heads
    shared_heads: int = 2  # of keys and values
    rope_theta: float = 1e6
    mel_bins: int = 128


class Build(Strict):
    """Start from random weights: a new tokenizer from prompts and records, a model of this size."""

    size: Size = Size()
    see_bands: bool = True  # the vision tower starts as an analyser of frequency bands: quality lives in their energies


class ViewChanges(Strict):
    """What of a clip the model sees, as far as it differs from the card the run starts from (`card.ViewSpec`)."""

    window_seconds: Positive | None = None
    hop_seconds: Positive | None = None
    max_windows: Count | None = None
    segments: Count | None = None
    frames_per_segment: Count | None = None
    global_pixels: Count | None = None
    fragment_grid: tuple[int, int] | None = None

    def over(self, spec: ViewSpec) -> ViewSpec:
        """`spec` with these changes. Raises ConfigError where they do not fit its patch."""
        try:
            return ViewSpec.model_validate(spec.model_dump() | self.model_dump(exclude_none=True))
        except ValidationError as e:
            raise ConfigError(f"views: {e.errors()[0]['msg']}") from e


class RecordFile(Strict):
    """One record file of a mixture."""

    records: Path
    weight: Factor = 1.0  # how often a clip of it comes, next to a clip of weight 1; 0 leaves it out
    # Factors on the stage's mixture: `stage1`, `stage2`, `stage3`, or a task of its questions (kind, severity, ...)
    tasks: dict[str, Factor] = {}


class Distil(Strict):
    """Another checkpoint's ratings as soft targets (`distil`)."""

    ratings: Path  # JSONL of `mllm-avqa score --full`, or a folder of such files
    share: Share = 1.0  # of the teacher in the target; the rest is the record's own label
    unlabelled: bool = True  # also teach aspects that the teacher rated and the record has no label for


class Lora(Strict):
    r: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    experts: bool = False  # also the experts of a mixture: much slower and many more parameters
    tokens: bool = False  # also the embeddings of the tokenizer's added tokens, where a base has not learnt them


class PartPlan(Strict):
    """How one part of the model is trained."""

    tune: Literal["full", "lora", "frozen"]
    lr: Positive | None = None  # None: the stage's


class Parts(Strict):
    """All parts of the model (`PARTS`); an adapter holds low-rank factors and, in full, the projectors alone."""

    llm: PartPlan
    vision: PartPlan
    audio: PartPlan
    projectors: PartPlan

    @model_validator(mode="after")
    def _storable(self) -> Parts:
        tunes = {name: getattr(self, name).tune for name in PARTS}
        if tunes["projectors"] == "lora":
            raise ValueError("projectors can be full or frozen: they are small")
        low, full = ([p for p in PARTS[:3] if tunes[p] == t] for t in ("lora", "full"))
        if low and full:
            raise ValueError(f"{', '.join(full)} can not be full beside {', '.join(low)} as lora")
        return self


class Weights(Strict):
    """Loss weights."""

    answer: float = 1.0
    kl: float = 1.0
    mass: float = 0.05
    rank: float = 1.0


class QuestionMix(Strict):
    """How many questions of each depth are packed behind one clip (a fraction is a probability).

    Depths are what records call the stage of a question: 1 perceives, 2 rates, 3 explains.
    """

    stage1: Factor = 0.0
    stage2: Factor = 0.0  # 1 = every aspect of the clip
    stage3: Factor = 0.0
    lists: Factor = 0.0  # 1 = the list of the faults of every side: what findings are read from
    lettered: float = Field(default=0, ge=0, le=1)  # of those with options: asked with letters, as benchmarks do
    tasks: dict[str, Factor] = {}  # how often a task of the questions is drawn, next to one of weight 1


class InputDropout(Strict):
    """Share of rows that lose a part of the input, so that no part is leaned on alone."""

    facts: float = 0.25  # evidence of one modality
    views: float = 0.1  # pixels or sound (never together with the facts of the same modality)
    context: float = 0.1
    blind: float = 0.0  # share of batches without any pixels and sound: facts are learnt at a third of the cost


class PracticeShares(Strict):
    """Practice rows by sort, as probabilities; the one-sided rows that are left over stay as they are."""

    overall: float = Field(0.4, ge=0, le=1)  # batches with rows of both sides
    kin: float = Field(0.45, ge=0, le=1)  # one-sided rows mixed with a clip of the same faults
    strangers: float = Field(0.3, ge=0, le=1)  # one-sided rows mixed with any clip
    kinds: float = Field(0, ge=0, le=1)  # rows mixed with kin that ask for nothing but the kind of fault
    listed: float = Field(0, ge=0, le=1)  # one-sided rows mixed with a clip of the same faults and levels: list them
    written: float = Field(0, ge=0, le=1)  # batches that see no clip: an explanation from scores and lists of faults
    replay: float = Field(0, ge=0, le=1)  # batches of general questions, with the base's own answers (`train.mini`)
    timed: float = Field(0, ge=0, le=1)  # of the rows of both sides: clips that have a score of timing or captions
    described: float = Field(0, ge=0, le=1)  # rows of both sides that stay as they are and are described
    context: float = Field(0.3, ge=0, le=1)  # rows of both sides with text: the clip's, or any where facts are mixed
    text: float = Field(0, ge=0, le=1)  # of the one-sided rows: captions, of any clip that has them
    scrambled: float = Field(0, ge=0, le=1)  # of the texts beside mixed facts: any words in any order
    whole: float = Field(0, ge=0, le=1)  # batches of whole rows, a third as many, as `mixture` and `dropout` say
    # Share of the whole rows that keep their own labels: pixels and sound tell more than the teacher's facts
    labels: float = Field(0, ge=0, le=1)
    facts: float = Field(0.5, ge=0, le=1)  # up to this share of the facts comes from the other clip


class Reward(Strict):
    """Answers that the model writes itself, worth what the record of faults says of them (`train.reward`)."""

    method: Literal["grpo", "best_of"] = "grpo"  # learn from all, by how far each is above its group; or from the best
    samples: Annotated[int, Field(ge=2)] = 6  # answers to a question: a group
    questions: Count = 2  # of a clip: lists of faults and descriptions, drawn from its record
    temperature: Positive = 1.0
    tokens: Count = 64  # of an answer at most; one that does not end counts as too long


class Stage(Strict):
    name: str = Field(pattern=r"^[\w.-]+$")  # also the name of its folder
    steps: Count
    batch: Count = 8
    accumulate: Count = 1
    lr: Positive = 1e-3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    mixture: QuestionMix = QuestionMix()
    weights: Weights = Weights()
    dropout: InputDropout = InputDropout()
    # Short forms of `parts`: all in full; or low rank on the language model, projectors in full, towers frozen.
    tune: Literal["full", "lora"] = "full"
    freeze_towers: bool = False
    parts: Parts | None = None
    lora: Lora = Lora()
    # An adapter that is there already: train it on, or merge it into the weights and start a new one.
    adapter: Literal["continue", "merge"] = "continue"
    views: ViewChanges = ViewChanges()  # a curriculum: smaller windows and budgets first; the last stage's are served
    # Rows of facts alone, mixed and labelled by a teacher; `mixture.stage1` questions in each. {} takes the defaults.
    practice: PracticeShares | None = None
    # In place of the mixture: written answers are rewarded, scores are held to those of the start by `weights`.
    reward: Reward | None = None
    by_length: bool = False  # clips of similar length in one batch: less padding, another order
    save_every: Count = 200

    @model_validator(mode="after")
    def _one_form(self) -> Stage:
        if self.by_length and self.practice is not None:
            raise ValueError("`by_length` sorts clips, rows of `practice` are made of several: take one")
        if self.reward is not None and (self.practice is not None or "mixture" in self.model_fields_set):
            raise ValueError(
                "`reward` asks questions of its own (`reward.questions`): leave out `mixture` and `practice`"
            )
        if self.parts is not None and {"tune", "freeze_towers"} & self.model_fields_set:
            raise ValueError("give `parts`, or `tune` and `freeze_towers`, not both")
        return self

    @property
    def plan(self) -> Parts:
        """What is trained, part by part."""
        if self.parts is not None:
            return self.parts
        towers = "frozen" if self.freeze_towers or self.tune == "lora" else "full"
        tunes = {"llm": self.tune, "vision": towers, "audio": towers, "projectors": "full"}
        return Parts.model_validate({name: {"tune": tune} for name, tune in tunes.items()})


class Warmup(Strict):
    """Towers alone: distortion kind and level, and the modality's score, from pooled tower outputs."""

    steps: Count
    batch: int = 16
    lr: float = 1e-3


class Config(Strict):
    name: str
    records: Path | None = None  # one record file, or `datasets`
    datasets: list[RecordFile] = []
    output: Path
    # A checkpoint directory, a card of train/configs/bases, "nano", or ORG/NAME@REVISION; without it `build` makes one
    init: Path | None = None
    # Full weights in place of those that the card of `init` names: a folder, or a hub name as NAME@COMMIT
    base: str | None = None
    build: Build = Build()
    views: ViewChanges = ViewChanges()
    facts: FactStyle = "values"  # how evidence is written; a small model reads "grades" better
    isolate: bool | None = None  # None: as the card of `init` says, else yes (`card.isolate`)
    teacher: bool = False  # levels come from forests on the facts of the training clips, wherever facts are shown
    distil: Distil | None = None
    languages: list[Literal["en", "zh"]] = ["en", "zh"]
    warmup: Warmup | None = None
    stages: list[Stage] = Field(min_length=1)
    seed: int = 0
    bf16: bool = True
    # Frozen weights below an adapter. auto: bfloat16 where they are large; float32 has to be asked for
    base_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    four_bit: bool = False  # QLoRA: the frozen linear layers of the language model as NF4 (needs bitsandbytes)
    gradient_checkpointing: bool = False  # layers are computed again in the backward pass instead of being kept
    deepspeed: Path | None = None  # its JSON; started by torchrun or `accelerate launch`
    tower_cache: Path | None = None  # a folder: outputs of frozen towers are kept there and used again (`towers`)
    threads: int | None = None
    fold: Annotated[int, Field(ge=0)] | None = None  # of the records' `folds`, instead of `split` (`--folds` sets it)
    val_clips: int = 120  # held-out clips scored after every save
    limits: str = ""  # goes into the card
    licence: str = "Apache-2.0"

    @field_validator("init")
    @classmethod
    def _named(cls, given: Path | None) -> Path | None:
        """The directory of a checkpoint that was given by its name."""
        if given is not None and not given.is_dir() and (str(given) in EMBEDDED or "@" in given.name):
            return resolve_checkpoint(str(given), "init")
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        untaught = [s.name for s in self.stages if s.practice is not None and not self.teacher]
        if untaught:
            raise ValueError(f"practice in stage {', '.join(untaught)} needs `teacher: true`")
        if (self.records is None) == (not self.datasets):
            raise ValueError("give either `records`, one file, or `datasets`, a list")
        names = [s.name for s in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have one name: {', '.join(names)}")
        if self.teacher and self.distil is not None:
            raise ValueError("`teacher` and `distil` are two teachers of one model: take one")
        if (self.four_bit or self.base_dtype == "bfloat16") and not self.bf16:
            raise ValueError("`four_bit` and `base_dtype: bfloat16` need `bf16: true`")
        if self.base is not None and self.init is None:
            raise ValueError("`base` replaces the weights that the card of `init` names: give `init` as well")
        return self

    @property
    def sources(self) -> list[RecordFile]:
        return [RecordFile(records=self.records)] if self.records is not None else self.datasets

    def given(self, *keys: str) -> dict[str, Any]:
        """Those of `keys` that the file sets, with their values."""
        return {k: getattr(self, k) for k in keys if k in self.model_fields_set}


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """The config of a run, see `read`."""
    return read(path, Config, overrides)


def read(path: str | Path, model: type[Model], overrides: list[str] | None = None) -> Model:
    """Read a YAML into a model.

    `extends: FILE` (relative to the YAML) takes over its values; mappings are merged, lists and values replaced.
    overrides: "a.b=c", list items by index. Raises ConfigError; for an unknown key it names the nearest one.
    """
    path = Path(path)
    data = _extended(path, ())
    for item in overrides or []:
        _override(data, item, path)
    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise ConfigError("\n".join(_explain(path, model, error) for error in e.errors())) from e


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        by = f" (extends in {seen[-1]})" if seen else ""
        raise ConfigError(f"config {path} does not exist{by}")
    if path.resolve() in [p.resolve() for p in seen]:
        raise ConfigError(f"config {path} extends itself, over {', '.join(map(str, seen))}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as e:
        raise ConfigError(f"{path}: not YAML: {e}") from e
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys to values, found {type(data).__name__}")
    below = data.pop("extends", None)
    return data if below is None else _merged(_extended(path.parent / str(below), (*seen, path)), data)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out


def _override(data: dict[str, Any], item: str, path: Path) -> None:
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigError(f"--set {item}: expected KEY=VALUE, such as stages.0.steps=10")
    node: Any = data
    *parents, last = key.split(".")
    try:
        for p in parents:
            node = node[int(p)] if isinstance(node, list) else node.setdefault(p, {})
        node[int(last) if isinstance(node, list) else last] = yaml.safe_load(value)
    except (ValueError, IndexError, TypeError, AttributeError) as e:
        raise ConfigError(f"--set {item}: no such place in {path}") from e
    except yaml.YAMLError as e:
        raise ConfigError(f"--set {item}: {value!r} is not a YAML value") from e


def _explain(path: Path, model: type[BaseModel], error: Any) -> str:
    where = ".".join(str(x) for x in error["loc"])
    message = f"{path}: {where}: {error['msg']}" if where else f"{path}: {error['msg']}"
    if error["type"] != "extra_forbidden":
        return message
    *parents, key = error["loc"]
    here = [name for m in _models_at(model, parents) for name in m.model_fields]
    for names in (here, sorted(_keys(model) - {key})):  # the right key at this place, or a key of another place
        near = difflib.get_close_matches(str(key), names, n=1)
        if near:
            return f"{message}; did you mean {near[0]!r}?"
    return f"{message}; allowed here: {', '.join(here)}"


def _models_at(model: type[BaseModel], loc: list[Any]) -> list[type[BaseModel]]:
    found = [model]
    for step in loc:
        if isinstance(step, str):
            found = [i for m in found if step in m.model_fields for i in _inner(m.model_fields[step].annotation)]
    return found


def _inner(annotation: Any) -> list[type[BaseModel]]:
    """Models in an annotation: itself, or what a list, a union or a mapping holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _inner(a)]


def _keys(model: type[BaseModel]) -> set[str]:
    keys: set[str] = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in _inner(field.annotation):
            keys |= _keys(inner)
    return keys
