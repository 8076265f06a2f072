"""What a run starts from: `init`, random weights, or an adapter and the weights under it.

Checked without reading a weight: parameters on the meta device hold shapes and no memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mllm_avqa.model.backbones import family, load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import grade_words, load_prompts
from mllm_avqa.model.weights import kept, locate
from mllm_avqa.schema.card import CARD_FILE, Card
from mllm_avqa.schema.errors import CheckpointError, ConfigError
from mllm_avqa.schema.records import Record
from train import saving
from train.config import PARTS, Config, Stage
from train.nano import tiny
from train.nano.corpus import corpus

LARGE = 2 * 10**9  # bytes of weights


def start_of(config: Config, train: list[Record]) -> Path:
    """The directory the first stage starts from: `init`, a card that puts `base` in its place, or random weights."""
    directory = config.output / "start"
    if config.init is not None and config.base is None:
        return config.init
    if config.init is not None:
        rebased(config, directory)
    elif not (directory / CARD_FILE).is_file():
        model, tokenizer, card = fresh(config, train)
        saving.save(model, tokenizer, card, directory)
    return directory


def fresh(config: Config, train: list[Record]) -> tuple[Any, Any, Card]:
    """Random weights, a tokenizer of the records' words, and their card."""
    # A graded fact is one token: a small model learns what each is worth as fast as a table would.
    words = grade_words() if config.facts == "grades" else []
    model, tokenizer = tiny.build(corpus(train), config.build.size, config.seed, words)
    if config.build.see_bands:
        tiny.see_bands(model)
    card = Card(
        name=config.name,
        family=tiny.FAMILY,
        pixels=tiny.PIXELS if config.build.see_bands else None,
        prompts=str(load_prompts("rating", config.languages[0])["version"]),
        facts=config.facts,
        languages=list(config.languages),
        limits=config.limits,
        licence=config.licence,
    )
    return model, tokenizer, carded(config, card)


def carded(config: Config, card: Card) -> Card:
    """The card of the start with what the config says otherwise."""
    given = config.given("facts", "languages", "limits", "licence")
    if config.isolate is not None:
        given["isolate"] = config.isolate
    return card.model_copy(update=given | {"name": config.name, "views": config.views.over(card.views)})


class _NoTokenizer:
    """Stands in where the tokenizer is not to be had offline: the architecture does not depend on it."""

    all_special_ids: tuple[int, ...] = ()

    def convert_tokens_to_ids(self, token: str) -> int:
        return -1


def skeleton(directory: Path, card: Card) -> tuple[Backbone, Any]:
    """The backbone on the meta device, without adapter, and its tokenizer or None where that is not at hand.

    Sizes come from a `config.json`: of local weights, beside the card (train/configs/bases), or of the hub's cache;
    nothing is fetched. Raises CheckpointError where there is none.
    """
    kind = family(card.family)
    model_class = kind.model_class()
    base, revision = locate(directory, card)
    beside = (directory / "config.json").is_file()
    folder = str(directory) if revision and beside else base
    try:
        where = {"revision": revision} if revision and not beside else {}
        config = model_class.config_class.from_pretrained(folder, local_files_only=True, **where)
        with torch.device("meta"):
            model = model_class._from_config(config)
    except (OSError, ValueError) as e:
        raise CheckpointError(f"no config.json of {base} at hand, neither in {directory} nor cached: {e}") from e
    tokenizer = _tokenizer(base, revision)
    return kind.bare(model, tokenizer or _NoTokenizer(), card), tokenizer


def _tokenizer(base: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            base, revision=revision or "main", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError):
        return None


SAMPLES = 64  # places of a weight file that go into its weights_sample
PLACE = 4096  # bytes


def reopened(directory: Path, card: Card | None = None, below: Below | None = None) -> tuple[Backbone, Card]:
    """A checkpoint with its own card or with `card` in its place; in fp32, or as `below` says of its weights."""
    card = card or Card.load(directory)
    below = below or Below()
    place = {"": torch.cuda.current_device()} if below.four_bit and torch.cuda.is_available() else None
    backbone = load_backbone(directory, card, below.dtype, device_map=place, four_bit=below.four_bit)
    if below.dtype != torch.float32 and (saved := directory / "adapter_model.safetensors").is_file():
        _whole_parts(backbone.model, saved)
    return backbone, card


def _whole_parts(model: torch.nn.Module, saved: Path) -> None:
    """Parts trained in full beside an adapter, as its file has them: they were read in the precision of the base."""
    from safetensors.torch import load_file

    kept = load_file(str(saved))
    for name, p in model.named_parameters():
        if (key := name.replace("modules_to_save.default.", "")) != name and key in kept:
            p.data = kept[key].to(p.device)


@dataclass(frozen=True)
class Below:
    """How weights lie in memory that no gradient reaches: below an adapter they are read once and never written."""

    dtype: torch.dtype = torch.float32
    four_bit: bool = False

    @property
    def bytes(self) -> float:
        """A parameter takes; of 4 bits with the scales of their blocks."""
        return 0.56 if self.four_bit else self.dtype.itemsize


def below(config: Config, stage: Stage, size: int) -> Below:
    """Of the frozen weights of a stage, `size` bytes in their files; fp32 where a whole part is trained.

    auto: bfloat16 from 2 GB on (`LARGE`), which are the bases that no CPU trains.
    """
    if any(getattr(stage.plan, p).tune == "full" for p in PARTS[:3]):
        return Below()
    half = config.base_dtype == "bfloat16" or (config.base_dtype == "auto" and config.bf16 and size >= LARGE)
    return Below(torch.bfloat16 if half or config.four_bit else torch.float32, config.four_bit)


def write_merged(backbone: Backbone, card: Card, directory: Path, dtype: torch.dtype = torch.float32) -> None:
    """Full weights with the adapter in them, tokenizer and card. The backbone is used up."""
    model = backbone.model
    if hasattr(model, "peft_config"):
        model = model.merge_and_unload()
    saving.save(
        model.to(dtype), backbone.tokenizer, card.model_copy(update={"base_model": None, "revision": None}), directory
    )


def rebased(config: Config, directory: Path) -> None:
    """Write the card of `config.init` into `directory` with `config.base` as its weights.

    Raises ConfigError for a hub name without commit, a folder without weights, or an adapter, which only fits its own.
    """
    assert config.init is not None
    assert config.base is not None
    card = Card.load(config.init)
    if (config.init / "adapter_config.json").is_file() or card.base_model is None:
        what = "an adapter, which" if card.base_model else "full weights, which"
        raise ConfigError(f"base {config.base}: init {config.init} holds {what} can not be put on another base model")
    folder = Path(config.base).expanduser()
    name, at, commit = config.base.rpartition("@")
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(f"base {folder} holds no config.json: not a model folder")
        card.base_model, card.revision = os.path.relpath(folder.resolve(), directory.resolve()), None
    elif at and name and commit:
        card.base_model, card.revision = name, commit
    else:
        raise ConfigError(f"base {config.base} is neither a folder nor a hub name with its commit, NAME@COMMIT")
    directory.mkdir(parents=True, exist_ok=True)
    card.save(directory)


def weights_sample(directory: Path, card: Card) -> str | None:
    """Short hash that tells the full weights of a checkpoint from any others; a hub name stands for itself.

    Read are the sizes of the weight files and 4 kB at 64 places of each: trained weights differ everywhere. None where
    there are no local weight files.
    """
    base, revision = (card.base_model, card.revision) if kept(card) else locate(directory, card)
    if revision:
        return f"{base}@{revision}"
    digest = hashlib.sha256()
    files = sorted(Path(base or directory).glob("*.safetensors"))
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as f:
            for k in range(SAMPLES):
                f.seek(size * k // SAMPLES)
                digest.update(f.read(PLACE))
    return digest.hexdigest()[:16] if files else None


def check_adapter(directory: Path, card: Card) -> None:
    """An adapter must lie on the weights it was trained on: the same weights_sample, and shapes that fit.

    A base on the hub is known by its commit. Raises CheckpointError naming what differs.
    """
    if not (directory / "adapter_config.json").is_file():
        return
    stages = [s for s in card.training.values() if isinstance(s, dict)]
    known = next((s["base"] for s in reversed(stages) if "base" in s), None)
    found = weights_sample(directory, card)
    if known is not None and known != found:
        raise CheckpointError(
            f"{directory} is an adapter of other weights ({known}) than those at {card.base_model} ({found}) "
            "(`base_model` in avqa.yaml)"
        )
    if card.revision is None:
        _check_shapes(directory, card)


def _check_shapes(directory: Path, card: Card) -> None:
    from safetensors import safe_open

    rank = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    shapes = {n: tuple(p.shape) for n, p in skeleton(directory, card)[0].model.named_parameters()}
    with safe_open(directory / "adapter_model.safetensors", "pt") as f:
        for key in f.keys():  # noqa: SIM118 (no mapping)
            name, found, end = key.removeprefix("base_model.model.").partition(".lora_")
            if not found or name.endswith("experts"):  # experts are 3-D, with factors of another form
                continue
            out, inner = shapes.get(f"{name}.weight", (0, 0))
            factor = tuple(f.get_slice(key).get_shape())
            if factor != ((rank, inner) if end.startswith("A") else (out, rank)):
                there = f"is {out} x {inner}" if out else "does not exist"
                raise CheckpointError(
                    f"{directory} is an adapter of another base model: {name} {there} in {card.base_model}, "
                    f"lora_{end[0]} is {factor[0]} x {factor[1]}"
                )
