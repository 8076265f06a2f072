"""The processes of a run: who is first, who waits, how they start and end. A single process pays nothing for it.

`accelerate launch` and `torchrun` start one process per device and say so in the environment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from mllm_avqa.model.backbones.base import Backbone
from mllm_avqa.model.prompting import Media, Segment
from mllm_avqa.model.rows import EncodedSegment, PackedRow, pack
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import AvqaError

T = TypeVar("T")
PATIENCE = timedelta(days=2)  # how long ranks wait for the first one to prepare clips
_control: Any = None  # a gloo group beside the devices' own: waiting in it never trips a watchdog


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def together() -> Iterator[None]:
    """The process group of a run, opened and closed. Does nothing for a single process.

    The group is open before any model is loaded: ZeRO-3 splits weights while they are read. It is closed on the way
    out, for a rank that ends while gloo's threads still run aborts.
    """
    global _control
    if world() == 1:
        yield
        return
    if rank():
        logging.getLogger().setLevel(logging.WARNING)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=30))
    _control = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield
        wait()
    finally:
        _control = None
        dist.destroy_process_group()


def wait() -> None:
    """Until all ranks are here."""
    if _control is not None:
        dist.barrier(group=_control)


def first(make: Callable[[], T]) -> T:
    """What the first rank makes, on every rank; its refusal (AvqaError) is raised on every rank too."""
    if _control is None:
        return make()
    box: list[Any] = [None, None]
    if rank() == 0:
        try:
            box[0] = make()
        except AvqaError as e:
            box[1] = e
    dist.broadcast_object_list(box, src=0, group=_control)
    if box[1] is not None:
        raise box[1]
    return box[0]  # type: ignore[no-any-return]


def gathered(mine: T) -> list[T]:
    """Everybody's, by rank."""
    if _control is None:
        return [mine]
    out: list[Any] = [None] * world()
    dist.all_gather_object(out, mine, group=_control)
    return out


def all_rows(mine: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The rows of all ranks and the weight of a loss made of them. Collective: all ranks must ask, rows or none.

    mine: float64 [n, columns], n of any size; the result is [sum of n, columns] in the order of ranks. Its gradient
    reaches this rank's own rows and nobody else's. DDP and DeepSpeed average the gradients of W ranks, so a loss over
    all rows, the same on every rank, is weighted by W: they then add up to its true gradient, and nothing has to be
    exchanged in the backward pass.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine, 1.0
    world = dist.get_world_size()
    count = torch.tensor([len(mine)], device=mine.device)
    counts = [torch.zeros_like(count) for _ in range(world)]
    dist.all_gather(counts, count)
    sizes = [int(c) for c in counts]
    padded = torch.nn.functional.pad(mine.detach(), (0, 0, 0, max(sizes) - len(mine)))
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    parts = [part[:n] for part, n in zip(parts, sizes, strict=True)]
    parts[dist.get_rank()] = mine
    return torch.cat(parts), float(world)


def any_of(mine: bool) -> bool:
    """Whether it is so on any rank; all ranks must ask."""
    if _control is None:
        return mine
    flag = torch.tensor([int(mine)])
    dist.all_reduce(flag, dist.ReduceOp.MAX, group=_control)
    return bool(flag.item())


SOUND_SECONDS = 0.1


class Fillers:
    """Makes batches of one backbone whole: `fill` adds what is absent."""

    def __init__(self, backbone: Backbone, card: Card) -> None:
        self.pad = int(backbone.tokenizer.pad_token_id)
        side = card.views.patch
        frames = np.zeros((2, side, side, 3), np.uint8)
        sound = np.zeros(round(SOUND_SECONDS * card.views.audio_rate), np.float32)
        self.parts: list[tuple[str, dict[str, torch.Tensor], EncodedSegment]] = []
        for name, key, views, seen in (
            ("video", "pixel_values_videos", Views(frames, frames, None), ("whole", "fragments")),
            ("audio", "input_features", Views(None, None, sound), ("sound",)),
        ):
            media = backbone.media_tensors(views)
            segment = backbone.encode_segment(Segment(name, tuple(Media(v) for v in seen)), media)
            self.parts.append((key, media, segment))

    def fill(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Collated inputs (`rows.collate`) with pictures and sound, absent ones as columns behind the first row.

        inputs: input_ids [B, T], position_ids [3, B, T], attention_mask [B, 1, T, T], media tensors or none.
        Columns 0..T-1 and everything computed there stay as they are.
        """
        for key, media, segment in self.parts:
            if key not in inputs:
                inputs = _behind(inputs, segment, self.pad) | media
        return inputs


def _behind(inputs: dict[str, Any], segment: EncodedSegment, pad: int) -> dict[str, Any]:
    """The segment as columns of row 0; the other rows get padding there."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]["full_attention"]
    rows, length = ids.shape
    n = len(segment.ids)
    more = torch.full((rows, n), pad)
    more[0] = torch.tensor(segment.ids)
    positions = segment.positions[:, None].expand(-1, rows, -1)
    wide = torch.zeros(rows, 1, length + n, length + n, dtype=torch.bool)
    wide[:, :, :length, :length] = mask
    wide[:, 0, length:, length:] = torch.eye(n, dtype=torch.bool)  # a fully masked row would be NaN
    return inputs | {
        "input_ids": torch.cat([ids, more], 1),
        "position_ids": torch.cat([inputs["position_ids"], positions], 2),
        "attention_mask": {"full_attention": wide},
    }


def empty_row(pad: int) -> PackedRow:
    """A row that holds nothing: what a rank computes when it has no clip left."""
    return pack([EncodedSegment("system", [pad], torch.zeros(3, 1, dtype=torch.long))], [])
