"""Outputs of frozen towers, computed once and read from disk ever after.

What is kept is the output of a tower's last block, before the projector: that one may be trained. The key of an entry
is made of the tower's weights, arithmetic and code, the view spec, and the very frames or samples that are shown:
whatever changes, the entry is not found and is made anew. A clip that is known needs neither its tower nor the
processor before it. Every entry is a file of its own, memory-mapped when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from mllm_avqa.model.backbones.base import Backbone, Keepable
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import code_hash, whole_file
from train.arguments import zero_level
from train.config import Config
from train.parts import part_of

Tensors = dict[str, torch.Tensor]
MODELLING = "mllm_avqa.model.backbones"  # what makes a tower's input


@dataclass
class Lookup:
    """The clips of one batch in one tower, in their order."""

    files: list[Path]
    shapes: list[torch.Tensor]  # of each: grids [2, 3] of the pictures, [mel frames] of the sound
    lengths: list[int]  # positions of each in the tower's blocks
    found: torch.Tensor | None  # [sum of lengths, width]; None: compute and keep


@dataclass
class Tower:
    """One frozen tower, and what the present batch needs of it."""

    of: Keepable
    folder: Path
    files: dict[int, Path] = field(default_factory=dict)  # by identity of the array that is shown
    known: bool = False  # all of the batch
    asked: list[Path] = field(default_factory=list)  # in the order of the rows


class TowerCache:
    """`open` a batch, let the collator work, then `lookups` says what a forward may skip or should keep (`around`).

    For the collator it stands in the backbone's place: the same in all but `media_tensors`.
    """

    def __init__(self, backbone: Backbone, card: Card, folder: Path, bf16: bool) -> None:
        """Raises ConfigError for a backbone none of whose towers can be kept."""
        known = backbone.keepable()
        if not known:
            raise ConfigError(f"tower_cache: a backbone of family {card.family} has no towers that can be kept")
        core = backbone.model.get_base_model() if hasattr(backbone.model, "peft_config") else backbone.model
        self.towers: dict[str, Tower] = {}
        for part, tower in known.items():
            weights = [p for n, p in core.named_parameters() if part_of(n, backbone) == part]
            if not any(p.requires_grad for p in weights):
                key = _digest(weights, f"{bf16} {card.views.model_dump_json()} {code_hash(MODELLING)}")
                self.towers[part] = Tower(tower, folder / f"{part}-{key[:16]}")
        self.read = self.made = 0
        self._backbone = backbone

    @property
    def in_front(self) -> Backbone:
        return cast("Backbone", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def open(self, shown: list[Views]) -> None:
        """Before the collator: the clips of the batch that is to be made."""
        for part, tower in self.towers.items():
            tower.files, tower.asked = {}, []
            for v in shown:
                arrays = [a for a in ((v.whole, v.fragments) if part == "vision" else (v.sound,)) if a is not None]
                if arrays:
                    key = _digest([torch.from_numpy(a) for a in arrays], "")
                    tower.files[id(arrays[0])] = tower.folder / key[:2] / f"{key}.safetensors"
            tower.known = all(f.is_file() for f in tower.files.values())

    def media_tensors(self, views: Views) -> Tensors:
        """`Backbone.media_tensors`; of clips that are known only the shapes are right."""
        skip = {part: self._ask(part, views) for part in self.towers}
        light: Tensors = {}
        if skip.get("vision"):
            grids = self._entry("vision")["shape"]
            light["pixel_values_videos"] = torch.zeros(int(grids.prod(-1).sum()), 1)
            light["video_grid_thw"] = grids
            light["video_second_per_grid"] = torch.full((2,), views.seconds_per_pair)
            views = Views(None, None, views.sound, views.seconds_per_pair)
        if skip.get("audio"):
            frames = int(self._entry("audio")["shape"])
            light["input_features"] = torch.zeros(1, self.towers["audio"].of.bins, frames)
            light["feature_attention_mask"] = torch.ones(1, frames, dtype=torch.long)
            views = Views(views.whole, views.fragments, None, views.seconds_per_pair)
        return light | self._backbone.media_tensors(views)

    def _ask(self, part: str, views: Views) -> bool:
        """Notes that a row shows this clip to the tower. True if its entry can be used."""
        tower = self.towers[part]
        file = tower.files.get(id(views.whole if part == "vision" else views.sound))
        if file is not None:
            tower.asked.append(file)
        return file is not None and tower.known

    def _entry(self, part: str) -> Tensors:
        from safetensors.torch import load_file

        return load_file(self.towers[part].asked[-1])

    def lookups(self, inputs: dict[str, Any]) -> dict[str, Lookup]:
        """After the collator: by tower, for collated inputs; nothing for one that no row of the batch needs."""
        from safetensors.torch import load_file

        out: dict[str, Lookup] = {}
        for part, tower in self.towers.items():
            if not tower.asked:
                continue
            if part == "vision":
                shapes = list(inputs["video_grid_thw"].view(-1, 2, 3))
            else:
                shapes = list(inputs["feature_attention_mask"].sum(-1))
            lengths = [tower.of.positions(shape) for shape in shapes]
            found = torch.cat([load_file(f)["x"] for f in tower.asked]) if tower.known else None
            self.read += len(tower.asked) if tower.known else 0
            out[part] = Lookup(tower.asked, shapes, lengths, found)
        return out

    @contextmanager
    def around(self, lookups: dict[str, Lookup]) -> Iterator[None]:
        """A forward in here skips the blocks whose output is known, and keeps what it has to compute."""
        with ExitStack() as stack:
            for part, lookup in lookups.items():
                how = self._kept if lookup.found is None else _recalled
                stack.enter_context(how(self.towers[part], lookup))
            yield

    @contextmanager
    def _kept(self, tower: Tower, lookup: Lookup) -> Iterator[None]:
        from safetensors.torch import save_file

        out: list[torch.Tensor] = []
        last = getattr(tower.of.module, tower.of.blocks)[-1]
        hook = last.register_forward_hook(lambda m, a, y: out.append(y[0] if isinstance(y, tuple) else y))
        try:
            yield
        finally:
            hook.remove()
        pieces = out[0].detach().cpu().split(lookup.lengths)
        for file, shape, piece in zip(lookup.files, lookup.shapes, pieces, strict=True):
            if not file.is_file():
                with whole_file(file) as part:
                    save_file({"x": piece.contiguous(), "shape": shape.cpu().contiguous()}, part)
                self.made += 1


def tower_cache(config: Config, backbone: Backbone, card: Card) -> TowerCache | None:
    """The cache that a stage asks for; None where it asks for none, or trains both towers.

    Raises ConfigError with ZeRO-3, where ranks compute every module together and none may skip one.
    """
    if config.tower_cache is None:
        return None
    if zero_level(config) == 3:
        raise ConfigError("tower_cache does not go with ZeRO-3: take train/deepspeed/zero2.json, or leave it out")
    cache = TowerCache(backbone, card, config.tower_cache, config.bf16)
    return cache if cache.towers else None


class Constant(nn.Module):
    """Stands where something was computed before."""

    def __init__(self, value: torch.Tensor, pair: bool = False) -> None:
        super().__init__()
        self.value, self.pair = value, pair

    def forward(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        value = self.value.to(hidden.device)
        return (value,) if self.pair else value


@contextmanager
def _recalled(tower: Tower, lookup: Lookup) -> Iterator[None]:
    assert lookup.found is not None
    of = tower.of
    instead: dict[str, nn.Module] = {of.blocks: nn.ModuleList([Constant(lookup.found, of.pair)])}
    if of.before is not None:
        instead[of.before] = Constant(torch.zeros_like(lookup.found))
    held = {name: getattr(of.module, name) for name in instead}
    for name, module in instead.items():
        setattr(of.module, name, module)
    try:
        yield
    finally:
        for name, module in held.items():
            setattr(of.module, name, module)


def _digest(tensors: list[torch.Tensor], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for t in tensors:
        digest.update(f"{t.dtype} {tuple(t.shape)}".encode())
        digest.update(t.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
