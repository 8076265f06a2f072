"""Where mini starts: nano's schooled vision tower, projectors settled on training clips, embeddings of added tokens.

A projector starts at random and is settled: what it hands over is centred, at a fixed multiple of the spread of the
word embeddings, so that tokens of different clips differ from the first step on. A fact token starts as the mean of
what its words would be spelled with. Everything is committed: an adapter only fits the very same start.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mllm_avqa.bases.assemble import DATA, START, TOKENS, assemble, text_tensors, tokenizer
from mllm_avqa.bases.fetch import catalogue, fetch
from mllm_avqa.bases.gguf import Gguf, read_gguf
from mllm_avqa.model.backbones import load_backbone
from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.checkpoint import open_checkpoint
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import read_records
from train import cache
from train.schooling.towers import settle

PROJECTORS = {"video": "visual.merger.mlp.2", "audio": "audio_tower.proj"}
WHOLE = {"video": "visual.merger.", "audio": "audio_tower.proj."}  # of a side's projector, in names of tensors
INNER = {"video": 512, "audio": 512}  # widths before the last layer: four patches merged; Whisper-base


def make(records: Path, sight: str, clips: int, hearing: Path | None = None) -> str:
    """Writes the file; returns the content hash of the base that comes of it, for bases.yaml.

    hearing: a checkpoint whose sound tower was at school by adapter (train/configs/school/mini.yaml).
    """
    language, sound = fetch("smollm2-135m"), fetch("whisper-base")
    told = read_gguf(language)
    own, card, _ = open_checkpoint(sight)
    start = {"tokens": _tokens(told), **_sight(own), **_projectors(told), **({} if hearing is None else _ear(hearing))}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        assemble(language, sound, start, here / "model.safetensors")
        card = Card(name="mini", family=card.family, pixels=card.pixels, views=card.views)
        backbone = load_backbone(here, card)
        _settled(backbone, _shown(records, card, clips))
        state = backbone.model.state_dict()
        for name in PROJECTORS.values():
            for part in ("weight", "bias"):
                start[f"{name}.{part}"] = state[f"model.{name}.{part}"].bfloat16().contiguous()
        from safetensors.torch import save_file

        save_file(start, DATA / START, {"format": "pt"})
        return assemble(language, sound, start, here / "model.safetensors")


def rebase(adapter: Path, out: Path, sides: Sequence[str]) -> None:
    """Puts an adapter of an earlier base onto today's, to train on: projectors of `sides` become those of the base.

    For towers that were at school again: what the language model learnt stays, what read their tokens begins anew.
    Raises ConfigError for a folder without an adapter that has these projectors, or one that is its own copy.
    """
    from safetensors.torch import load_file, save_file

    file = adapter / "adapter_model.safetensors"
    if not file.is_file() or out.resolve() == adapter.resolve():
        raise ConfigError(f"{adapter} holds no adapter to put into another folder than {out} (ADAPTER, OUT)")
    start, tensors = load_file(DATA / START), load_file(file)
    for part in (WHOLE[side] for side in sides):
        keys = [key for key in tensors if part in key]
        if not keys:
            raise ConfigError(f"{file} holds no {part.rstrip('.')} (--side)")
        tensors |= {key: start[part + key.split(part)[1]].float() for key in keys}
    out.mkdir(parents=True, exist_ok=True)
    for own in adapter.iterdir():
        if own.suffix == ".json" and own.name != "stage.json":
            shutil.copy(own, out)
    save_file(tensors, out / "adapter_model.safetensors", {"format": "pt"})
    card = Card.load(adapter)
    card.revision, card.results = catalogue()["mini-base"]["sha256"], {}  # measured on the base of before
    told = {"anew": ", ".join(sides) or "nothing", "base": f"mini-base@{card.revision}"}
    times = sum(name.startswith("rebased") for name in card.training)
    card.training = card.training | {f"rebased_{times + 1}" if times else "rebased": told}
    card.save(out)


def _tokens(told: Gguf) -> torch.Tensor:
    """Embeddings of the added tokens: of a fact the mean over its pieces, of a control token that of all words."""
    added = json.loads((DATA / TOKENS).read_text(encoding="utf-8"))
    inner = tokenizer(told, {"control": [], "facts": []})
    width = told.told["llama.embedding_length"]
    vocabulary = told.told["llama.vocab_size"]
    embedded = dict(text_tensors(told, torch.zeros(0, width), vocabulary))["model.embed_tokens.weight"].float()
    rows = [embedded.mean(0)] * len(added["control"])
    rows += [embedded[inner(word, add_special_tokens=False).input_ids].mean(0) for word in added["facts"]]
    return torch.stack(rows).bfloat16()


def _sight(own: Backbone) -> dict[str, torch.Tensor]:
    """The vision tower of a schooled checkpoint, without the projector's last layer."""
    tower = own.model.model.visual.state_dict()
    return {
        f"visual.{name}": t.bfloat16().contiguous()
        for name, t in tower.items()
        if not f"visual.{name}".startswith(PROJECTORS["video"])
    }


def _ear(folder: Path) -> dict[str, torch.Tensor]:
    """What a schooled sound tower adds to Whisper's, as low-rank factors, and its projector."""
    from safetensors.torch import load_file

    added = {f"audio_tower.{n}": t for n, t in load_file(folder / "hearing.low_rank.safetensors").items()}
    state = load_backbone(folder, Card.load(folder)).model.model.audio_tower.proj.state_dict()
    return added | {f"{PROJECTORS['audio']}.{n}": t.bfloat16().contiguous() for n, t in state.items()}


def _projectors(told: Gguf) -> dict[str, torch.Tensor]:
    width = told.told["llama.embedding_length"]
    draw = torch.Generator().manual_seed(0)
    out: dict[str, torch.Tensor] = {"audio_tower.audio_bos_eos_token.weight": torch.zeros(2, width).bfloat16()}
    for side, name in PROJECTORS.items():
        weight = torch.randn(width, INNER[side], generator=draw) / math.sqrt(INNER[side])
        out |= {f"{name}.weight": weight.bfloat16(), f"{name}.bias": torch.zeros(width).bfloat16()}
    return out


def _shown(records: Path, card: Card, clips: int) -> list[Any]:
    train = [r for r in read_records(records) if r.split == "train"]
    chosen = train[:: max(1, len(train) // clips)]
    paths, _ = cache.build(chosen, records.parent, records.parent / "cache", card.views)
    return [cache.load(p).views for p in paths.values()]


def _settled(backbone: Any, shown: list[Any]) -> None:
    found: dict[str, list[torch.Tensor]] = {}
    for views in shown:
        for part, tokens in backbone.media_tokens(backbone.media_tensors(views)).items():
            found.setdefault(part, []).append(tokens)
    settle(backbone, "video", torch.cat(found["vision"]))
    settle(backbone, "audio", torch.cat(found["audio"]))
