"""Around the collator: clips that cannot be read drop out, batches are made whole, and it is known what is in them."""

from __future__ import annotations

import logging
from typing import Any
from zipfile import BadZipFile

import torch

from mllm_avqa.model.rows import collate
from train import ranks
from train.data import Clips, Collator
from train.lockstep import Fillers, empty_row
from train.towers import TowerCache

log = logging.getLogger(__name__)
UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile)  # what a damaged cache file raises


class ReadableClips(Clips):
    """Clips of which some may turn out unreadable in the middle of a run: their item has `window` None and says why."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            return super().__getitem__(index)
        except UNREADABLE as e:
            return {"record": self.records[index], "window": None, "error": f"{type(e).__name__}: {e}"}


class Batches:
    """Items -> batch of `collator`, plus "about": record ids and how much of everything the batch holds.

    A clip that cannot be read is named once, counted in `lost` and replaced by nothing: its batch is smaller. With more
    than one rank every batch has pictures and sound (`lockstep`).
    """

    def __init__(self, collator: Collator, fillers: Fillers, towers: TowerCache | None = None) -> None:
        self.collator, self.fillers, self.towers = collator, fillers, towers
        self.lost: dict[str, str] = {}

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        for item in items:
            name = item["record"].id
            if item["window"] is None and name not in self.lost:
                self.lost[name] = item["error"]
                log.warning("clip %s cannot be read and is left out: %s", name, item["error"])
        items = [i for i in items if i["window"] is not None]
        if self.towers is not None:
            self.towers.open([i["window"].views for i in items])
        batch = self.collator(items) if items else self._nothing()
        about = _about(batch, self.fillers.pad) | {"ids": [i["record"].id for i in items], "clips": len(items)}
        if ranks.world() > 1:
            batch["inputs"] = self.fillers.fill(batch["inputs"])
        if self.towers is not None:
            batch["recall"] = self.towers.lookups(batch["inputs"])
            for part, count in (("vision", "patches"), ("audio", "mel")):
                if part in batch["recall"] and batch["recall"][part].found is not None:
                    about[count] = 0  # not computed
        return batch | {"about": about}

    def _nothing(self) -> dict[str, Any]:
        none, places = torch.zeros(0), torch.zeros(0, 2, dtype=torch.long)
        return {
            "inputs": collate([empty_row(self.fillers.pad)], self.fillers.pad),
            "answer_at": places,
            "answer_ids": none.long(),
            "level_at": places,
            "level_target": none.view(0, 5),
            "level_mean": none,
            "level_std": none,
            "level_group": none.long(),
        }


def _about(batch: dict[str, Any], pad: int) -> dict[str, Any]:
    """Questions, tokens, the squares of row lengths (attention), picture patches and mel frames of a collated batch."""
    inputs = batch["inputs"]
    asked = torch.cat([batch["answer_at"], batch["level_at"]])
    flat = (asked[:, 0] * (inputs["input_ids"].shape[1] + 1) + asked[:, 1]).unique()  # sorted
    lengths = (inputs["input_ids"] != pad).sum(1)
    return {
        "questions": int((flat.diff() > 1).sum()) + bool(len(flat)),  # an answer is a run of neighbouring places
        "tokens": int(lengths.sum()),
        "squares": int((lengths**2).sum()),
        "patches": len(inputs.get("pixel_values_videos", ())),
        "mel": int(inputs["feature_attention_mask"].sum()) if "feature_attention_mask" in inputs else 0,
    }
