"""Other facts behind a held prefix: what a window would score, had one of its sides been measured otherwise.

Facts end their segment, and under isolation nothing else of the prefix looks at them. So only the facts that changed
and the score questions behind them are computed; pixels, sound and all else stay in the cache. Each change has exactly
the result of a window encoded with it (tests/model/test_retold.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mllm_avqa.model.prompting import SEES
from mllm_avqa.model.rows import EncodedBranch, EncodedSegment, PackedRow
from mllm_avqa.schema.measurement import Measurement


@dataclass(frozen=True)
class Change:
    """All facts of a window with those of one side changed. aspects: what is scored again."""

    side: str
    facts: list[Measurement]
    aspects: list[str]


@dataclass(frozen=True)
class Retold:
    """The end of a segment as it is held, and as it would be."""

    side: str
    before: EncodedSegment
    after: EncodedSegment

    def fits(self, prefix: PackedRow) -> bool:
        """Whether the prefix holds it."""
        start, end = prefix.spans.get(self.side, (0, 0))
        return end - start >= len(self.before.ids) and prefix.ids[end - len(self.before.ids) : end].tolist() == list(
            self.before.ids
        )


@dataclass
class RetoldRows:
    """Tokens behind a prefix. positions [3, 1, N]; mask bool [1, 1, N, prefix + N]; stems: where levels are read."""

    ids: list[int]
    positions: torch.Tensor
    mask: torch.Tensor
    stems: list[int]


def retold_rows(
    prefix: PackedRow, changes: Sequence[Retold], branches: Sequence[Sequence[EncodedBranch]]
) -> RetoldRows:
    """Every change with its branches; none sees another."""
    ids: list[int] = []
    positions: list[torch.Tensor] = []
    stems: list[int] = []
    blocks: list[tuple[int, int, torch.Tensor, tuple[int, int]]] = []  # start, end, sees of the prefix, also sees
    for change, asked in zip(changes, branches, strict=True):
        end = prefix.spans[change.side][1]
        cut = end - len(change.before.ids)
        at = prefix.ends[change.side] - change.before.span
        own = torch.zeros(prefix.prefix_length, dtype=torch.bool)
        for a, z in (prefix.spans["system"], (prefix.spans[change.side][0], cut)):
            own[a:z] = True
        start = len(ids)
        ids += change.after.ids
        positions.append(change.after.positions + at)
        facts = (start, len(ids))
        blocks.append((*facts, own, (0, 0)))
        ends = prefix.ends | {change.side: at + change.after.span}
        for b in asked:
            sees = prefix.visible_from[b.aspect].clone()
            sees[cut:end] = False
            begin = max(ends[n] for n in SEES[b.aspect] if n in ends)
            positions.append((torch.arange(len(b.ids)) + begin).expand(3, -1))
            stems.append(len(ids) + b.stem_end)
            blocks.append((len(ids), len(ids) + len(b.ids), sees, facts if change.side in SEES[b.aspect] else (0, 0)))
            ids += b.ids
    n = len(ids)
    mask = torch.zeros(n, prefix.prefix_length + n, dtype=torch.bool)
    for a, z, sees, (x, y) in blocks:
        mask[a:z, : prefix.prefix_length] = sees
        own_part = mask[:, prefix.prefix_length :]
        own_part[a:z, x:y] = True
        own_part[a:z, a:z] = torch.ones(z - a, z - a, dtype=torch.bool).tril()
    laid = torch.cat(positions, 1)[:, None] if positions else torch.zeros(3, 1, 0, dtype=torch.long)
    return RetoldRows(ids, laid, mask[None, None], stems)
