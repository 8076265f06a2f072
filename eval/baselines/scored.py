"""Labels and single-modality scores of the same clips, all on 1-5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.joining import Columns, Entry, join, named, read_entries, read_labels, single
from eval.joining.columns import account
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import Scale
from mllm_avqa.schema.records import read_records

FIVE = (1.0, 5.0)


@dataclass(frozen=True)
class Scored:
    """Clips with both scores and a label, all on 1-5. [n]"""

    a: np.ndarray
    v: np.ndarray
    y: np.ndarray
    groups: list[str]
    notes: list[str] = field(default_factory=list)


def read_scored(
    labels: Path,
    pred: Path | None = None,
    *,
    columns: Columns = Columns(),
    pred_columns: Sequence[str] = (),
    scale: tuple[float, float] = FIVE,
    pred_scale: tuple[float, float] = FIVE,
) -> Scored:
    """A, V and overall of every clip that has all three; A and V from `pred` when given, else from the labels.

    Raises ConfigError for unreadable files, labels outside `scale`, and when no clip has all three.
    """
    if scale != FIVE and _holds_records(labels):
        raise ConfigError(f"{labels} is a record file, which knows its scales: leave --scale out")
    wanted, notes = single(read_labels(labels, columns), labels.name)
    falls = bool(columns.lower_is_better)
    if pred is None:
        pairs: list[tuple[Entry, Entry | None]] = [(e, e) for e in wanted]
        # `account` says the same where predictions are joined
        if all(e.group is None for e in wanted):
            notes.append("no content groups: every clip counts as a content of its own (--group)")
    else:
        given = read_entries(pred, Columns(id=columns.id, scores=tuple(pred_columns)), flag="--pred-column")
        joined = join(given, wanted)
        notes += account(joined, given, wanted, pred, labels)
        pairs = joined.pairs
    kept = [
        (k, label, s)
        for k, (label, s) in enumerate(pairs)
        if s is not None and "overall" in label.values and {"audio", "video"} <= set(s.values)
    ]
    if not kept:
        raise ConfigError(
            f"{labels}: no clip has overall, audio and video scores; name the columns with --label-column "
            "overall=COLUMN --label-column audio=COLUMN --label-column video=COLUMN (--pred-column for predictions)"
        )
    lost = [label.name for k, (label, _) in enumerate(pairs) if k not in {i for i, _, _ in kept}]
    if lost:
        notes.append(f"{named(lost)} without all of overall, audio and video: left out")
    y = _to_five([e.values["overall"] for _, e, _ in kept], scale, falls)
    a, v = (
        _to_five([s.values[m] for _, _, s in kept], scale if pred is None else pred_scale, falls and pred is None)
        for m in ("audio", "video")
    )
    for name, column in (("overall", y), ("audio", a), ("video", v)):
        low, high = float(column.min()), float(column.max())
        if low >= 1 - 1e-9 and high <= 5 + 1e-9:
            continue
        if name == "overall" or pred is None:
            s = Scale(*scale, not falls)
            raise ConfigError(
                f"{labels}: {name} reaches from {s.from_five(low):g} to {s.from_five(high):g}, outside the scale "
                f"{scale[0]:g}..{scale[1]:g}: say the study's with --scale LOW HIGH"
            )
        beyond = int(((column < 1) | (column > 5)).sum())
        notes.append(f"{name}: {beyond} predictions beyond the scale count as its end (--pred-scale)")
    groups = [label.group if label.group is not None else f"clip {k}" for k, label, _ in kept]
    return Scored(np.clip(a, 1, 5), np.clip(v, 1, 5), np.clip(y, 1, 5), groups, notes)


def _to_five(values: list[float], scale: tuple[float, float], falls: bool) -> np.ndarray:
    """Falling labels arrive negated from the joining room."""
    s = Scale(*scale, not falls)
    return np.array([s.to_five(-x if falls else x) for x in values])


def _holds_records(path: Path) -> bool:
    if path.suffix.lower() != ".jsonl":
        return False
    try:
        next(read_records(path), None)
    except ConfigError:
        return False
    return True
