"""Joined entries -> columns of numbers per aspect, with an account of every clip that is not in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.joining.entries import Entry
from eval.joining.match import Joined, named
from eval.stats import Fit, Mapping, Spread, fit, undefined
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS


class Lost(BaseModel):
    """Labelled clips of an aspect that have no number to compare."""

    model_config = ConfigDict(extra="forbid")

    failed: int = 0  # the predictor reported an error
    unscored: int = 0  # a row without this aspect
    unmatched: int = 0  # no row belongs to the clip


@dataclass
class Column:
    """The matched clips of one aspect. x: predictions, y: labels, z: mapped predictions; all [n]."""

    names: list[str]
    paths: list[str]
    rows: np.ndarray  # row of every clip among the labels
    groups: list[str]
    parts: list[str | None]
    x: np.ndarray
    y: np.ndarray
    spread: Spread | None
    fit: Fit | None = None  # None where correlations are undefined
    lost: Lost = field(default_factory=Lost)

    @property
    def z(self) -> np.ndarray:
        return self.x if self.fit is None else self.fit.curve(self.x)


def account(joined: Joined, given: list[Entry], wanted: list[Entry], path: Path, labels: Path) -> list[str]:
    """What people should know of the match. Raises ConfigError when nothing matches."""
    if len(joined.unmatched) == len(wanted):
        raise ConfigError(
            f"no clip of {labels} is in {path}: labels name {named([e.name for e in wanted])}, predictions name "
            f"{named([e.name for e in given])}; name the column that both share with --id"
        )
    notes = list(joined.notes)
    if joined.unmatched:
        notes.append(f"{named(joined.unmatched)} of {labels.name} not found in {path.name}: no prediction")
    if joined.unused:
        notes.append(f"{named(joined.unused)} of {path.name} not used: no label")
    failures = Counter(p.error for _, p in joined.pairs if p is not None and p.error)
    notes += [f"predictions failed: {n} {kind}" for kind, n in failures.items()]
    known, labelled = ({a for e in entries for a in e.values} for entries in (given, wanted))
    for aspect in (a for a in ASPECTS if a in labelled - known and any(a in e.empty for e in given)):
        notes.append(f"{aspect}: labelled, but {path.name} has no number of it")
    for aspect in (a for a in ASPECTS if a in known & labelled):
        asked = [p for w, p in joined.pairs if p is not None and aspect in w.values]  # the others miss nothing
        for entries, where, what in ((wanted, labels, "not counted"), (asked, path, "counted as missing")):
            empty = [e.name for e in entries if aspect in e.empty and e.error is None]
            if empty:
                notes.append(f"{aspect}: {named(empty)} of {where.name} without a finite number: {what}")
    if all(e.group is None for e in wanted):
        notes.append(
            "no content groups: every clip counts as a content of its own, intervals may be too narrow (--group)"
        )
    return notes


def shared(given: list[Entry], wanted: list[Entry], path: Path, labels: Path) -> list[str]:
    """Aspects that both files have numbers of, in their usual order. Raises ConfigError when there is none."""
    both = {a for e in wanted for a in e.values} & {a for e in given for a in e.values}
    if not both:
        raise ConfigError(
            f"{path} and {labels} share no aspect with numbers (--pred-column, --label-column); allowed are "
            f"{', '.join(ASPECTS)}"
        )
    return [a for a in ASPECTS if a in both]


def column(joined: Joined, aspect: str, mapping: Mapping) -> Column:
    """The clips that have a label and a prediction of the aspect; the others are counted in `lost`."""
    lost = Lost()
    kept: list[tuple[int, Entry, Entry]] = []
    for k, (label, p) in enumerate(joined.pairs):
        if aspect not in label.values:
            continue
        if p is None:
            lost.unmatched += 1
        elif p.error is not None:
            lost.failed += 1
        elif aspect not in p.values:
            lost.unscored += 1
        else:
            kept.append((k, label, p))
    x = np.array([p.values[aspect] for _, _, p in kept], float)
    y = np.array([label.values[aspect] for _, label, _ in kept], float)
    return Column(
        names=[label.name for _, label, _ in kept],
        paths=[(label.paths or p.paths or [""])[0] for _, label, p in kept],
        rows=np.array([k for k, _, _ in kept], int),
        groups=[label.group if label.group is not None else f"clip {k}" for k, label, _ in kept],
        parts=[label.part for _, label, _ in kept],
        x=x,
        y=y,
        spread=_spread([label for _, label, _ in kept], aspect),
        fit=None if undefined(x, y) else fit(x, y, mapping),
        lost=lost,
    )


def _spread(labels: list[Entry], aspect: str) -> Spread | None:
    """How sure the labels are; None when no label says. NaN for the labels that do not say."""
    votes = [label.votes.get(aspect) for label in labels]
    ci, std, count = (
        np.array([np.nan if v is None or getattr(v, k) is None else getattr(v, k) for v in votes], float)
        for k in ("ci", "std", "votes")
    )
    computed = Spread.of_votes(std, count)
    given = Spread.of_ci(ci)
    merged = Spread(
        np.where(np.isfinite(ci), ci, computed.ci),
        np.where(np.isfinite(computed.error), computed.error, given.error),
    )
    return merged if np.isfinite(merged.ci).any() else None
