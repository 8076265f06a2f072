"""Anybody's predictions against anybody's labels: the numbers per aspect, and what became of every labelled clip."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from eval.joining import join, read_entries, read_labels
from eval.markdown import signed, table
from eval.stats import Agreement, Mapping, agreement
from mllm_avqa.errors import ConfigError
from mllm_avqa.rating import ASPECTS

NAMED = 5  # clips named in a note; the rest are counted


class Lost(BaseModel):
    """Labelled clips of an aspect that have no number to compare."""

    model_config = ConfigDict(extra="forbid")

    failed: int = 0  # the predictor reported an error
    unscored: int = 0  # a row without this aspect
    unmatched: int = 0  # no row belongs to the clip


class Correlation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    aspects: dict[str, Agreement]
    lost: dict[str, Lost]
    notes: list[str] = []


def correlate(
    predictions: Path,
    labels: Path,
    *,
    mapping: Mapping = "logistic4",
    group: str | None = None,
    lower_is_better: bool = False,
    draws: int = 1000,
) -> Correlation:
    """Compare two files (see `joining`). lower_is_better: labels are turned (DMOS); record files know it themselves.

    Raises ConfigError for files that cannot be read or share no aspect.
    """
    given, wanted = read_entries(predictions), read_labels(labels, group, lower_is_better)
    joined = join(given, wanted)
    notes = list(joined.notes)
    if joined.unmatched:
        notes.append(f"{_named(joined.unmatched)} of {labels.name} found in {predictions.name}: no prediction")
    if joined.unused:
        notes.append(f"{_named(joined.unused)} of {predictions.name} not used: no label")
    failures = Counter(p.error for _, p in joined.pairs if p is not None and p.error)
    notes += [f"{n} predictions failed: {kind}" for kind, n in failures.items()]
    if all(e.group is None for e in wanted):
        notes.append(
            "no content groups: every clip counts as a content of its own, intervals may be too narrow (--group)"
        )
    shared = {a for e in wanted for a in e.values} & {a for e in given for a in e.values}
    if not shared:
        raise ConfigError(f"{predictions} and {labels} share no aspect with numbers; allowed are {', '.join(ASPECTS)}")
    aspects: dict[str, Agreement] = {}
    lost: dict[str, Lost] = {}
    for aspect in (a for a in ASPECTS if a in shared):
        missing = Lost()
        x, y, groups = [], [], []
        for k, (label, p) in enumerate(joined.pairs):
            if aspect not in label.values:
                continue
            if p is None:
                missing.unmatched += 1
            elif p.error is not None:
                missing.failed += 1
            elif aspect not in p.values:
                missing.unscored += 1
            else:
                x.append(p.values[aspect])
                y.append(label.values[aspect])
                groups.append(label.group if label.group is not None else f"clip {k}")
        total = len(x) + missing.failed + missing.unscored + missing.unmatched
        aspects[aspect] = agreement(x, y, groups=groups, total=total, mapping=mapping, draws=draws)
        lost[aspect] = missing
    return Correlation(aspects=aspects, lost=lost, notes=notes)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} clips ({', '.join(names[:NAMED])}{more})"


def show(result: Correlation) -> str:
    """A Markdown table."""
    rows = []
    for aspect, a in result.aspects.items():
        lost = result.lost[aspect]
        gone = [f"{n} {word}" for word, n in lost.model_dump().items() if n]
        rows.append(
            [
                aspect,
                signed(a.srcc, interval=True),
                signed(a.krcc),
                signed(a.plcc),
                signed(a.plcc_mapped),
                signed(a.rmse),
                f"{a.n} of {a.m}" + (f" ({', '.join(gone)})" if gone else ""),
                str(a.groups),
                a.mapping.split(" ")[0],
            ]
        )
    head = ["aspect", "SRCC [95 % CI]", "KRCC", "PLCC raw", "PLCC mapped", "RMSE", "n of m", "contents", "mapping"]
    return table(head, rows)


def reasons(result: Correlation) -> list[str]:
    """Notes for people: what was not matched, and why a number or a mapping is not what was asked for."""
    notes = list(result.notes)
    for aspect, a in result.aspects.items():
        for name in ("srcc", "krcc", "plcc", "plcc_mapped", "rmse"):
            why = getattr(a, name).note
            if why and f"{aspect}: {why}" not in notes:
                notes.append(f"{aspect}: {why}")
        if " " in a.mapping:
            notes.append(f"{aspect}: {a.mapping}")
    return notes
