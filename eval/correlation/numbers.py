"""Anybody's predictions against anybody's labels: the numbers per aspect, and what became of every labelled clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from eval.joining import ColumnNames, join, read_labels, read_predictions, single
from eval.joining.columns import Column, Lost, account, column, shared
from eval.stats import (
    PARAMETERS,
    Agreement,
    Discrimination,
    Mapping,
    ModelComparison,
    Number,
    Pairs,
    Quartiles,
    Rival,
    ScoreRange,
    agreement,
    bootstrap,
    compare,
    content_parts,
    discrimination,
    fit,
    number,
    outlier_ratio,
    over_splits,
    partial_spearman,
    pearson,
    residual_spearman,
    rmse,
    rmse_free,
    rmse_star,
    segments,
    undefined,
)
from mllm_avqa.schema.errors import ConfigError

DRAWS = 2000
TURNED = "labels fall with quality: they count, and are shown, with a minus sign, so that more is better"
NO_SPREAD = "no RMSE*, outlier ratio or pairs: the labels' uncertainty is not known (--ci, or --std with --votes)"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Part(_Table):
    """Clips of one value of the `by` column, with a mapping of their own; ITU-T P.1203 reports so per database."""

    part: str
    agreement: Agreement


class Detail(_Table):
    """What goes beyond the table of correlations."""

    parameters: list[float] = []  # of the mapping
    rmse_free: Number  # RMSE with N - d degrees of freedom
    rmse_star: Number
    outlier_ratio: Number
    discrimination: Discrimination
    segments: list[ScoreRange]
    splits: dict[str, Quartiles]
    parts: list[Part] = []


class Halo(_Table):
    """Does a model hear and see, or judge once and say it twice? Over clips with both, scored and labelled."""

    n: int
    residual: Number  # SRCC(audio - video score, audio - video label)
    video: Number  # rank correlation of video score and label with the audio label held constant
    audio: Number


class Correlation(_Table):
    aspects: dict[str, Agreement]
    lost: dict[str, Lost]
    notes: list[str] = []
    name: str = ""
    details: dict[str, Detail] = {}
    halo: Halo | None = None
    others: dict[str, Correlation] = {}  # the models it is compared with
    comparisons: dict[str, list[ModelComparison]] = {}


@dataclass
class Compared:
    """The numbers of all models, and the clips behind them: columns[model][aspect]."""

    result: Correlation
    columns: dict[str, dict[str, Column]]


def study(
    predictions: Path,
    labels: Path,
    others: Sequence[Path] = (),
    *,
    label_columns: ColumnNames = ColumnNames(),
    score_columns: Sequence[str] = (),
    id_column: str | None = None,
    falling: Sequence[str] = (),
    mapping: Mapping = "logistic4",
    pairs: Pairs = "unordered",
    draws: int = DRAWS,
) -> Compared:
    """All numbers of one or several prediction files against one label file.

    falling: names (file stems) of predictions that fall with quality. Raises ConfigError for files that cannot be
    read, share no clip or no aspect.
    """
    files = _names([predictions, *others])
    strange = [f for f in falling if f not in files]
    if strange:
        raise ConfigError(f"--falling {strange[0]}: no such predictions; allowed are {', '.join(files)}")
    wanted, about = single(read_labels(labels, label_columns), labels.name)
    if label_columns.lower_is_better:
        about.append(TURNED)
    results: list[Correlation] = []
    columns: dict[str, dict[str, Column]] = {}
    for name, path in files.items():
        named = ColumnNames(id=id_column, scores=tuple(score_columns), lower_is_better=name in falling)
        given, told = read_predictions(path, named)
        joined = join(given, wanted)
        notes = told + account(joined, given, wanted, path, labels)
        found = {a: column(joined, a, mapping) for a in shared(given, wanted, path, labels)}
        result = Correlation(aspects={}, lost={a: c.lost for a, c in found.items()}, notes=about + notes, name=name)
        for aspect, c in found.items():
            result.aspects[aspect], result.details[aspect] = _measure(c, mapping, pairs, draws)
            result.notes += [f"{aspect}: {n}" for n in _warnings(result.aspects[aspect], name)]
        result.halo = _halo(found, draws)
        results.append(result)
        columns[name] = found
    first = results[0]
    first.others = {r.name: r for r in results[1:]}
    if first.others:
        for aspect in first.aspects:
            rows, note = _compare(columns, aspect, mapping, draws)
            first.comparisons[aspect] = rows
            for r in results:  # they hold for all
                r.notes += note
    return Compared(first, columns)


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """A name for every file: its stem, or with its folder where stems repeat."""
    stems = Counter(p.stem for p in paths)
    names = {(p.stem if stems[p.stem] == 1 else f"{p.parent.name}/{p.stem}"): p for p in paths}
    if len(names) < len(paths):
        raise ConfigError(f"--compare: {', '.join(str(p) for p in paths)} do not differ in folder and name")
    return names


# ---- from columns to numbers --------------------------------------------------------------------------------------


def _measure(c: Column, mapping: Mapping, pairs: Pairs, draws: int) -> tuple[Agreement, Detail]:
    total = len(c.x) + c.lost.failed + c.lost.unscored + c.lost.unmatched
    a = agreement(c.x, c.y, groups=c.groups, total=total, mapping=mapping, draws=draws)
    if c.fit is not None:
        z = c.x if c.fit.straight else c.z  # a line keeps the sign of the raw PLCC
        a.plcc_mapped = _with_interval(a.plcc_mapped, pearson, (z, c.y), c.groups, draws)
        a.rmse = _with_interval(a.rmse, rmse, (c.z, c.y), c.groups, draws)
    parts = [p for p in dict.fromkeys(c.parts) if p is not None]
    detail = Detail(
        **_errors(c, a.srcc.note if c.fit is None else ""),
        discrimination=_pairs(c, pairs),
        segments=segments(c.x, c.y, c.groups, draws=draws),
        splits=over_splits(c.x, c.y, c.groups, mapping),
        parts=[Part(part=p, agreement=_part(c, p, mapping, draws)) for p in sorted(parts)],
    )
    return a, detail


def _with_interval(n: Number, statistic: Any, columns: tuple[np.ndarray, ...], groups: list[str], draws: int) -> Number:
    span = bootstrap(statistic, columns, content_parts(groups), draws)
    return n if isinstance(span, str) else Number(value=n.value, low=round(span[0], 4), high=round(span[1], 4))


def _part(c: Column, part: str, mapping: Mapping, draws: int) -> Agreement:
    inside = [i for i, p in enumerate(c.parts) if p == part]
    groups = [c.groups[i] for i in inside]
    return agreement(c.x[inside], c.y[inside], groups=groups, mapping=mapping, draws=draws)


def _errors(c: Column, why: str) -> dict[str, Any]:
    if c.fit is None:
        nothing = Number(note=why)
        return {"rmse_free": nothing, "rmse_star": nothing, "outlier_ratio": nothing}
    d = PARAMETERS[c.fit.used]
    out: dict[str, Any] = {
        "parameters": [round(p, 6) for p in c.fit.parameters],
        "rmse_free": _number(rmse_free(c.z, c.y, d)),
    }
    if c.spread is None:
        return out | {"rmse_star": Number(note=NO_SPREAD), "outlier_ratio": Number(note=NO_SPREAD)}
    known = np.isfinite(c.spread.ci)
    note = "" if known.all() else f"over the {int(known.sum())} of {len(known)} clips whose label says how sure it is"
    z, y, ci = c.z[known], c.y[known], c.spread.ci[known]
    return out | {
        "rmse_star": _number(rmse_star(z, y, ci, d), note),
        "outlier_ratio": _number(outlier_ratio(z, y, ci), note),
    }


def _number(value: float, note: str = "") -> Number:
    return Number(value=round(value, 4), note=note) if np.isfinite(value) else Number(note="too few clips")


def _pairs(c: Column, pairs: Pairs) -> Discrimination:
    error = np.full(len(c.x), np.nan) if c.spread is None else c.spread.error
    found = discrimination(c.x, c.y, error, pairs)
    if c.spread is None:
        for n in (found.auc_ds, found.auc_bw, found.cc_0, found.threshold):
            n.note = NO_SPREAD
    return found


def _warnings(a: Agreement, name: str) -> list[str]:
    if a.srcc.high is not None and a.srcc.high < 0:
        return [
            f"SRCC is negative beyond chance: if the labels fall with quality say --lower-is-better, if the "
            f"predictions do say --falling {name}"
        ]
    return []


def _halo(columns: dict[str, Column], draws: int) -> Halo | None:
    """Over the clips that have both; None when the model has no score of one of them."""
    if not {"audio", "video"} <= set(columns):
        return None
    a, v = columns["audio"], columns["video"]
    _, i, j = np.intersect1d(a.rows, v.rows, return_indices=True)
    groups = [a.groups[k] for k in i.tolist()]
    ax, ay, vx, vy = a.x[i], a.y[i], v.x[j], v.y[j]
    why = undefined(ax - vx, ay - vy)
    residual = Number(note=f"differences: {why}") if why else None
    return Halo(
        n=len(i),
        residual=residual or number(residual_spearman, ax, vx, ay, vy, groups=groups, draws=draws),
        video=number(partial_spearman, vx, vy, ay, groups=groups, draws=draws),
        audio=number(partial_spearman, ax, ay, vy, groups=groups, draws=draws),
    )


def _compare(
    columns: dict[str, dict[str, Column]], aspect: str, mapping: Mapping, draws: int
) -> tuple[list[ModelComparison], list[str]]:
    """All models that score the aspect, on the clips that all of them scored, each mapped on those clips."""
    have = {name: by[aspect] for name, by in columns.items() if aspect in by}
    if len(have) < 2:
        return [], [f"{aspect}: only {', '.join(have)} has it, nothing to compare"]
    common = sorted(set.intersection(*(set(c.rows.tolist()) for c in have.values())))
    notes = []
    for name, c in have.items():
        if len(c.rows) > len(common):
            notes.append(
                f"{aspect}: models are compared on the {len(common)} clips that all have; {name} has {len(c.rows)}"
            )
    models, y, groups = [], np.empty(0), []
    for name, c in have.items():
        at = np.searchsorted(c.rows, common)
        x, y, groups = c.x[at], c.y[at], [c.groups[k] for k in at.tolist()]
        found = None if undefined(x, y) else fit(x, y, mapping)
        models.append(Rival(name, x, x if found is None else found.curve(x), found is None or found.straight))
    return compare(models, y, groups, draws), notes


def reasons(result: Correlation) -> list[str]:
    """Notes for people: what was not matched, and why a number or a mapping is not what was asked for."""
    of: dict[str, list[str]] = {}  # the models that a note holds for
    for r in (result, *result.others.values()):
        own = list(r.notes)
        for aspect, a in r.aspects.items():
            own += [f"{aspect}: {n.note}" for n in (a.srcc, a.krcc, a.plcc, a.plcc_mapped, a.rmse) if n.note]
            own += [f"{aspect}: {a.mapping}"] * (" " in a.mapping)
        for note in dict.fromkeys(own):
            of.setdefault(note, []).append(r.name)
    everybody = 1 + len(result.others)
    return [note if len(names) == everybody else f"{', '.join(names)}: {note}" for note, names in of.items()]
