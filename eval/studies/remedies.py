"""What would help most: the gains that ratings predict for fixes, against what mending that fault was worth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eval.samples import chosen
from eval.stats import spearman
from eval.store import Json
from eval.study import FEWER, SPLIT, Rated, Report, argument, option
from eval.writing import table
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.rating import Rating
from mllm_avqa.schema.records import Distortion, Record

APART = 0.1  # points by which the worth of two faults must differ to be ordered


@dataclass(frozen=True)
class Mended:
    """A fault of a clip with several. worth: points of the overall label without it; told: the gain that was predicted.

    advised: a remedy for it was among those of the rating.
    """

    clip: str
    kind: str
    worth: float
    told: float
    advised: bool


class Remedies(Rated):
    """Predicted gains of fixes against labels of the same clip without one of its faults.

    The record file holds clips with several faults, and each of them without one: data_recipes/recipes/mended.yaml.
    """

    command: ClassVar[str] = "remedies"

    records: Path = argument("Record file (.jsonl) with clips and the same clips without one fault.")
    split: str = option("all", SPLIT)
    clips: int | None = option(None, FEWER, "--limit", ge=1)

    def run(self) -> Json:
        """Rank agreement, over all faults and within clips. Raises ConfigError, CheckpointError."""
        records = chosen(self.records, self.split, None)
        pairs = [(r, without) for r in records if len(r.distortions) > 1 and len(without := mended_of(r, records)) > 1]
        rows: list[Mended] = []
        with self.opened() as rater:
            for record, without in pairs[: self.clips]:
                rating = rater.rate(self.records.parent / record.media, explain=False)
                rows += list(_compared(record, without, rating))
        return {"rows": [asdict(m) for m in rows], **agreement_of(rows)}

    def report(self, found: Json) -> Report:
        told = {k: v for k, v in found.items() if k != "rows"}
        return Report(table(["", "value"], [[k, str(v)] for k, v in told.items()]), json.dumps(found, indent=1))


def mended_of(record: Record, records: Sequence[Record]) -> dict[str, Record]:
    """By kind of the fault that is gone, the same clip without it."""
    own = {_key(d): d.kind for d in record.distortions}
    out: dict[str, Record] = {}
    for other in records:
        if other.group == record.group and other.labels.keys() == record.labels.keys():
            left = {_key(d) for d in other.distortions}
            if left < own.keys() and len(left) == len(own) - 1:
                out[own[next(iter(own.keys() - left))]] = other
    return out


def _key(d: Distortion) -> str:
    return d.model_dump_json()


def _compared(record: Record, without: dict[str, Record], rating: Rating) -> Iterator[Mended]:
    for kind, other in without.items():
        entry = fault_kinds()[kind]
        fit = [r for r in rating.remedies if r.side == entry.side and (kind in r.kinds or r.text == entry.remedy.en)]
        worth = other.labels["overall"].score - record.labels["overall"].score
        yield Mended(record.id, kind, round(worth, 4), sum(r.gain for r in fit), bool(fit))


def agreement_of(rows: Sequence[Mended]) -> dict[str, Any]:
    """SRCC over faults, and how often the worthier of two faults of one clip is told to gain more."""
    advised = [m for m in rows if m.advised]
    right = decided = two = 0
    for a, b in combinations(rows, 2):
        if a.clip == b.clip and abs(a.worth - b.worth) >= APART:
            two += 1
            decided += a.told != b.told
            right += (a.told - b.told) * (a.worth - b.worth) > 0
    return {
        "clips": len({m.clip for m in rows}),
        "faults": len(rows),
        "advised": len(advised),
        "SRCC, all faults": _srcc(rows),
        "SRCC, advised faults": _srcc(advised),
        "pairs of a clip": two,
        "pairs that are ordered": decided,
        "of these rightly": round(right / decided, 3) if decided else None,
    }


def _srcc(rows: Sequence[Mended]) -> float | None:
    if len(rows) < 3:
        return None
    return round(spearman(np.array([m.told for m in rows]), np.array([m.worth for m in rows])), 3)
