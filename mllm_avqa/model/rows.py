"""One row per clip: prefix segments, then branches that share them. Scoring and training pack the same rows.

A branch sees the segments it may see and itself, never another branch, and its positions start right after what it
sees; so every branch has exactly the result of a row of its own (tests/model/test_rows.py holds that to 1e-5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from mllm_avqa.model.prompting import ALL, SEES, VISIBLE

PLAIN = ("video", "audio")  # aspects whose segments stand in one line even under isolation


@dataclass
class EncodedSegment:
    name: str
    ids: list[int]
    positions: torch.Tensor  # int64 [3, len(ids)], starting at 0 (time, height, width)

    @property
    def span(self) -> int:
        """How far the positions reach: the next token's position relative to the start."""
        return int(self.positions.max()) + 1 if len(self.ids) else 0


@dataclass
class EncodedBranch:
    aspect: str
    ids: list[int]
    stem_end: int  # index in ids of the last token before the answer
    level: bool = False  # the token after stem_end is a level word


@dataclass
class PackedRow:
    ids: torch.Tensor  # int64 [T]
    positions: torch.Tensor  # int64 [3, T]
    visible: torch.Tensor  # bool [T, T], query x key
    prefix_length: int
    starts: list[int]  # index in the row of each branch's first token
    branches: list[EncodedBranch]
    next_position: dict[str, int]  # where a branch of an aspect starts counting
    visible_from: dict[str, torch.Tensor]  # bool [prefix_length] by aspect: what its branches see of the prefix
    media: dict[str, torch.Tensor] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)  # of each segment, in the row
    ends: dict[str, int] = field(default_factory=dict)  # the position after each segment


def pack(
    segments: list[EncodedSegment],
    branches: list[EncodedBranch],
    media: dict[str, torch.Tensor] | None = None,
    isolate: bool = True,
) -> PackedRow:
    """Lay segments and branches into one row.

    isolate=True: video, audio, sync, text and words segments see only the system segment and themselves and all start
    counting at its end, so nothing about one of them (not even its length) reaches a branch that may not see it.
    isolate=False: the stock causal layout of the backbone; every branch sees the whole prefix.
    """
    ids: list[int] = []
    positions: list[torch.Tensor] = []
    spans: dict[str, tuple[int, int]] = {}
    ends: dict[str, int] = {}
    offset = 0
    for s in segments:
        start = (ends.get("system", 0) if isolate else offset) if s.name != "system" else 0
        spans[s.name] = (len(ids), len(ids) + len(s.ids))
        ids += s.ids
        positions.append(s.positions + start)
        ends[s.name] = start + s.span
        offset = ends[s.name]
    prefix = len(ids)
    next_position = {
        a: max((ends[n] for n in (sees if isolate else ALL) if n in ends), default=0) for a, sees in VISIBLE.items()
    }
    visible = torch.zeros(prefix, prefix, dtype=torch.bool)
    causal = torch.ones(prefix, prefix, dtype=torch.bool).tril()
    if isolate:
        for name, (a, z) in spans.items():
            visible[a:z, a:z] = causal[a:z, a:z]
            if name != "system" and "system" in spans:
                visible[a:z, slice(*spans["system"])] = True
    else:
        visible = causal
    visible_from: dict[str, torch.Tensor] = {}
    for aspect, sees in VISIBLE.items():
        visible_from[aspect] = torch.zeros(prefix, dtype=torch.bool)
        for name in sees if isolate else ALL:
            if name in spans:
                visible_from[aspect][slice(*spans[name])] = True
    row = PackedRow(
        ids=torch.tensor(ids, dtype=torch.long),
        positions=torch.cat(positions, 1),
        visible=visible,
        prefix_length=prefix,
        starts=[],
        branches=[],
        next_position=next_position,
        visible_from=visible_from,
        media=dict(media or {}),
        spans=spans,
        ends=ends,
    )
    return behind(row, branches)


def behind(row: PackedRow, branches: list[EncodedBranch]) -> PackedRow:
    """The prefix of a row with these branches behind it, in place of its own."""
    prefix = row.prefix_length
    ids: list[int] = row.ids[:prefix].tolist()
    starts: list[int] = []
    positions = [row.positions[:, :prefix]]
    for b in branches:
        starts.append(len(ids))
        ids += b.ids
        positions.append((torch.arange(len(b.ids)) + row.next_position[b.aspect]).expand(3, -1))
    visible = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    visible[:prefix, :prefix] = row.visible[:prefix, :prefix]
    for b, a in zip(branches, starts, strict=True):
        z = a + len(b.ids)
        visible[a:z, a:z] = torch.ones(len(b.ids), len(b.ids), dtype=torch.bool).tril()
        visible[a:z, :prefix] = row.visible_from[b.aspect]
    return replace(
        row,
        ids=torch.tensor(ids, dtype=torch.long),
        positions=torch.cat(positions, 1),
        visible=visible,
        starts=starts,
        branches=branches,
    )


def stock_aspects(aspects: Sequence[str], isolate: bool) -> list[str]:
    """The aspects that a plain causal prompt scores as this project does."""
    return [a for a in aspects if a in PLAIN or not isolate]


def prompt_ids(segments: Sequence[EncodedSegment], branch: EncodedBranch, isolate: bool) -> list[int]:
    """Token ids of a question in a prompt of its own, up to where the level stands; views are placeholders already.

    Ids and no text: this project tokenises piece by piece, and quoted text without control tokens.
    """
    seen = [s for s in segments if s.name in SEES[branch.aspect] or not isolate]
    return [*(i for s in seen for i in s.ids), *branch.ids[: branch.stem_end + 1]]


def collate(rows: list[PackedRow], pad_id: int) -> dict[str, torch.Tensor | dict[str, torch.Tensor]]:
    """Right-padded batch of a Qwen-Omni `forward`: ids [B,T], positions [3,B,T], mask [B,1,T,T], stacked media."""
    length = max(len(r.ids) for r in rows)
    ids = torch.full((len(rows), length), pad_id)
    positions = torch.zeros(3, len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), 1, length, length, dtype=torch.bool)
    mask[:, 0].diagonal(dim1=1, dim2=2).fill_(True)  # a pad sees itself: a fully masked row would be NaN
    for i, r in enumerate(rows):
        n = len(r.ids)
        ids[i, :n] = r.ids
        positions[:, i, :n] = r.positions
        mask[i, 0, :n, :n] = r.visible
    batch: dict[str, torch.Tensor | dict[str, torch.Tensor]] = {
        "input_ids": ids,
        "position_ids": positions,
        "attention_mask": {"full_attention": mask},
    }
    return batch | stack_media([r.media for r in rows])


def stack_media(media: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Concatenate the clips' media tensors along their first axis; sound is padded to the longest."""
    out: dict[str, torch.Tensor] = {}
    for key in ("pixel_values_videos", "video_grid_thw", "video_second_per_grid"):
        parts = [m[key] for m in media if key in m]
        if parts:
            out[key] = torch.cat(parts)
    sounds = [m for m in media if "input_features" in m]
    if sounds:
        longest = max(m["input_features"].shape[-1] for m in sounds)

        def padded(key: str) -> torch.Tensor:
            return torch.cat([torch.nn.functional.pad(m[key], (0, longest - m[key].shape[-1])) for m in sounds])

        out["input_features"] = padded("input_features")
        out["feature_attention_mask"] = padded("feature_attention_mask")
    return out
