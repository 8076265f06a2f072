"""Rows of `attribution_rows` summed up: how much every modality and input weighs, and what is lost without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.stats import Number, average, content_parts, number, paired_bootstrap, spearman, undefined
from eval.writing import signed, table
from mllm_avqa.model.attribution import INPUTS, MODALITIES
from mllm_avqa.schema.rating import ASPECTS

EVERY = "all"  # the class of all clips
LEVELS = {"modality": tuple(MODALITIES), "input": INPUTS}
Rows = list[dict[str, Any]]


class Importance(BaseModel):
    """Shapley shares of one player among the clips of a class that have it, in points of the 1-5 scale."""

    model_config = ConfigDict(extra="forbid")

    of: str  # class of clips, "all" for every clip
    level: str  # "modality" or "input"
    aspect: str
    player: str
    n: int
    weight: Number  # mean absolute share; interval by content
    share: Number  # mean share: what the player adds to the score
    percent: float | None  # of all that the players of this level weigh, among all clips of the class
    empty: float  # mean score of nothing given, and
    full: float  # of everything


class Removal(BaseModel):
    """What happens to the scores of one aspect when one player is taken away, everything else kept."""

    model_config = ConfigDict(extra="forbid")

    level: str
    aspect: str
    player: str
    n: int  # clips that have it
    change: Number  # mean of score without - score, among them
    moved: Number  # mean of |score without - score|
    labelled: int  # clips with a label and a score, with or without the player
    srcc: Number  # of everything given
    srcc_without: Number
    srcc_change: Number  # without - with; interval from the same redrawn contents


def importance(rows: Rows, draws: int = 1000) -> list[Importance]:
    """Shares by class (`class` of the rows, where they have one), level, aspect and player; all clips come first."""
    out = []
    for of in [EVERY, *sorted({r["class"] for r in rows if "class" in r})]:
        inside = rows if of == EVERY else [r for r in rows if r.get("class") == of]
        for level, aspect, found in _parts(inside):
            total = sum(abs(r["share"]) for r in found)
            clips = list({r["id"]: r for r in found}.values())
            for player, own in _players(level, found):
                shares, groups = np.array([r["share"] for r in own]), [r["group"] for r in own]
                weight = float(np.abs(shares).sum())
                out.append(
                    Importance(
                        of=of,
                        level=level,
                        aspect=aspect,
                        player=player,
                        n=len(own),
                        weight=average(np.abs(shares), groups, draws),
                        share=average(shares, groups, draws),
                        percent=round(100 * weight / total, 1) if total > 0 else None,
                        empty=round(float(np.mean([r["empty"] for r in clips])), 4),
                        full=round(float(np.mean([r["full"] for r in clips])), 4),
                    )
                )
    return out


def removals(rows: Rows, draws: int = 1000) -> list[Removal]:
    """Change of score and SRCC by level, aspect and player. A clip without the player keeps its score."""
    out = []
    for level, aspect, found in _parts(rows):
        clips = [r for r in {r["id"]: r for r in found}.values() if r["label"] is not None]
        groups = [r["group"] for r in clips]
        full, label = (np.array([r[key] for r in clips], float) for key in ("full", "label"))
        srcc = number(spearman, full, label, groups=groups, draws=draws)
        for player, own in _players(level, found):
            left = {r["id"]: r["without"] for r in own}
            without = np.array([left.get(r["id"], r["full"]) for r in clips], float)
            change = np.array([r["without"] - r["full"] for r in own])
            there = [r["group"] for r in own]
            out.append(
                Removal(
                    level=level,
                    aspect=aspect,
                    player=player,
                    n=len(own),
                    change=average(change, there, draws),
                    moved=average(np.abs(change), there, draws),
                    labelled=len(clips),
                    srcc=srcc,
                    srcc_without=number(spearman, without, label, groups=groups, draws=draws),
                    srcc_change=_difference(without, full, label, groups, draws),
                )
            )
    return out


def _difference(without: np.ndarray, full: np.ndarray, label: np.ndarray, groups: list[str], draws: int) -> Number:
    why = undefined(without, label) or undefined(full, label)
    if why:
        return Number(note=why)
    found = Number(value=round(spearman(without, label) - spearman(full, label), 4))
    span = paired_bootstrap(spearman, without, full, label, content_parts(groups), draws)
    if isinstance(span, str):
        return found.model_copy(update={"note": span})
    return found.model_copy(update={"low": round(span[0], 4), "high": round(span[1], 4)})


def _parts(rows: Rows) -> Iterator[tuple[str, str, Rows]]:
    """(level, aspect, rows), in the usual order."""

    def key(r: dict[str, Any]) -> tuple[int, int]:
        return list(LEVELS).index(r["level"]), ASPECTS.index(r["aspect"])

    for _, found in groupby(sorted(rows, key=key), key):
        part = list(found)
        yield part[0]["level"], part[0]["aspect"], part


def _players(level: str, rows: Rows) -> Iterator[tuple[str, Rows]]:
    for player in LEVELS[level]:
        own = [r for r in rows if r["player"] == player]
        if own:
            yield player, own


# ---- tables ---------------------------------------------------------------------------------------------------------


def importance_markdown(found: Sequence[Importance]) -> str:
    """Mean absolute shares with intervals and percentages: modalities by class, single inputs of all clips."""
    parts = []
    for of in dict.fromkeys(i.of for i in found):
        for level in LEVELS if of == EVERY else ["modality"]:
            cells = {(i.player, i.aspect): i for i in found if (i.of, i.level) == (of, level)}
            if not cells:
                continue
            aspects = [a for a in ASPECTS if any(a == k[1] for k in cells)]
            rows = [
                [f"{player} ({max(c.n for k, c in cells.items() if k[0] == player)})"]
                + [_weight(cells.get((player, a))) for a in aspects]
                for player in LEVELS[level]
                if any(player == k[0] for k in cells)
            ]
            means = {a: next(c for k, c in cells.items() if k[1] == a) for a in aspects}
            rows.append(["score of nothing given", *(f"{means[a].empty:.2f}" for a in aspects)])
            rows.append(["score of everything", *(f"{means[a].full:.2f}" for a in aspects)])
            parts += [f"### {of}, by {level}", table([f"{level} (clips)", *aspects], rows)]
    return "\n\n".join(parts)


def removals_markdown(found: Sequence[Removal]) -> str:
    """Two tables: mean change of score, and SRCC with its change."""
    aspects = [a for a in ASPECTS if any(a == r.aspect for r in found)]
    cells = {(r.level, r.player, r.aspect): r for r in found}
    names = list(dict.fromkeys((r.level, r.player) for r in found))
    moved, srcc = [], []
    for level, player in names:
        own = [cells.get((level, player, a)) for a in aspects]
        name = f"{player} ({max(r.n for r in own if r is not None)})"
        moved.append([name, *("–" if r is None else _sign(r.change) for r in own)])
        srcc.append([name, *("–" if r is None else f"{signed(r.srcc_without)} ({_sign(r.srcc_change)})" for r in own)])
    everything = {a: next(r for r in found if r.aspect == a) for a in aspects}
    first = ["nothing", *(signed(everything[a].srcc, interval=True) for a in aspects)]
    head = ["taken away (clips)", *aspects]
    return "\n\n".join(["### Change of score", table(head, moved), "### SRCC without it", table(head, [first, *srcc])])


def _weight(i: Importance | None) -> str:
    if i is None:
        return "–"
    return signed(i.weight, interval=True) + ("" if i.percent is None else f" {i.percent:.0f} %")


def _sign(n: Number) -> str:
    if n.value is None:
        return "–"
    span = f" [{n.low:+.3f}, {n.high:+.3f}]" if n.low is not None and n.high is not None else ""
    return f"{n.value:+.3f}{span}"
