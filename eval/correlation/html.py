"""A correlation as one HTML file: plots, tables, the worst errors; it asks nothing of the network and runs nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from eval.correlation.numbers import Compared, reasons
from eval.correlation.sections import COMPARED, meaning, models, sections
from eval.joining.columns import Column
from eval.stats import Agreement
from eval.svg import Plot, forest, span, thinned
from eval.writing import page, write_text
from mllm_avqa.report.labels import visible

WORST = 12  # clips listed
HERE = Path(__file__).parent


@dataclass(frozen=True)
class LinkedClip:
    """A clip with a large error. href: a link that stays within http(s) and files; empty where there is no path."""

    name: str
    href: str
    prediction: float
    label: float
    mapped: float
    error: float  # mapped - label
    ci: float | None


@dataclass(frozen=True)
class PlotPanel:
    """One model on one aspect."""

    aspect: str
    model: str
    agreement: Agreement
    meaning: str
    scatter: Markup
    residuals: Markup
    drawn: int
    spread: bool  # labels say how sure they are
    worst: list[LinkedClip]


def write_html(study: Compared, path: Path, *, clips: Path, title: str) -> None:
    """Write the report atomically. clips: folder that relative paths of clips start from.

    Raises OutputError when it can not be written.
    """
    text = render_html(study, clips=_from(path, clips), title=title)
    write_text(path, text, "--html")


def render_html(study: Compared, *, clips: str, title: str) -> str:
    """The report. clips: the folder of the clips as seen from the report, "" for the same folder."""
    result = study.result
    made = sections(result)
    aspects = dict.fromkeys(a for by in study.columns.values() for a in by)
    panels = [
        _panel(aspect, name, by[aspect], study, clips)
        for aspect in aspects
        for name, by in study.columns.items()
        if aspect in by
    ]
    return page(
        HERE / "correlation.html.j2",
        title=title,
        names=list(study.columns),
        notes=reasons(result),
        panels=panels,
        forests=[(a, f) for a in aspects for f in [_forest(study, a)] if f],
        compared=[s for s in made if s.title == COMPARED],
        rest=[s for s in made if s.title != COMPARED],
    )


def _panel(aspect: str, name: str, c: Column, study: Compared, clips: str) -> PlotPanel:
    result = models(study.result)[name]
    detail = result.details[aspect]
    error = c.z - c.y
    order = np.argsort(-np.abs(error), kind="stable")[:WORST]
    shown = np.unique(np.concatenate([thinned(len(c.x)), order])).astype(int)
    threshold = detail.discrimination.threshold
    return PlotPanel(
        aspect=aspect,
        model=name,
        agreement=result.aspects[aspect],
        meaning=meaning(threshold) if threshold.value is not None else "",
        scatter=_scatter(c, shown, set(order.tolist())) if len(c.x) else Markup(""),
        residuals=_residuals(c, shown, set(order.tolist())) if c.fit is not None else Markup(""),
        drawn=len(shown),
        spread=c.spread is not None,
        worst=[_clip(c, i, clips) for i in order.tolist()],
    )


def _clip(c: Column, i: int, clips: str) -> LinkedClip:
    ci = None if c.spread is None or not np.isfinite(c.spread.ci[i]) else float(c.spread.ci[i])
    z, y = float(c.z[i]), float(c.y[i])
    return LinkedClip(c.names[i], link(c.paths[i], clips), float(c.x[i]), y, z, z - y, ci)


def _tips(c: Column, rows: np.ndarray) -> list[str]:
    return [f"{visible(c.names[i])}: predicted {c.x[i]:.3g}, label {c.y[i]:.3g}" for i in rows.tolist()]


def _scatter(c: Column, shown: np.ndarray, worst: set[int]) -> Markup:
    x, y = c.x[shown], c.y[shown]
    curve_x = np.linspace(*span(c.x, margin=0.02), 120)
    curve_y = curve_x if c.fit is None else c.fit.curve(curve_x)
    ci = np.zeros(len(c.y)) if c.spread is None else np.nan_to_num(c.spread.ci)
    plot = Plot.of(span(c.x), span(c.y - ci, c.y + ci), "prediction", "label")
    if c.spread is not None:
        plot.bars(x, y, c.spread.ci[shown])
    plot.points(x, y, _tips(c, shown), [i in worst for i in shown.tolist()])
    if c.fit is not None:
        plot.line(curve_x, curve_y)
    return plot.svg("labels over predictions, with the mapping")


def _residuals(c: Column, shown: np.ndarray, worst: set[int]) -> Markup:
    error = c.z - c.y
    low, high = span(error)
    reach = max(abs(low), abs(high))
    plot = Plot.of(span(c.z), (-reach, reach), "mapped prediction", "mapped prediction - label")
    if c.spread is not None:
        plot.bars(c.z[shown], error[shown], c.spread.ci[shown])
    plot.points(c.z[shown], error[shown], _tips(c, shown), [i in worst for i in shown.tolist()])
    plot.line(np.array(span(c.z)), np.zeros(2))
    return plot.svg("errors over mapped predictions")


def _forest(study: Compared, aspect: str) -> Markup | None:
    """SRCC of every model and, for one model, of every part, with intervals; None where there is only one bar."""
    rows = []
    for name, r in models(study.result).items():
        if aspect not in r.aspects:
            continue
        s = r.aspects[aspect].srcc
        if s.value is not None:
            rows.append((name, s.value, s.low, s.high))
        for p in r.details[aspect].parts:
            own = p.agreement.srcc
            if own.value is not None:
                label = f"{name}: {p.part}" if study.result.others else p.part
                rows.append((label, own.value, own.low, own.high))
    return forest([(visible(n), v, a, b) for n, v, a, b in rows], f"SRCC, {aspect}") if len(rows) > 1 else None


def link(path: str, clips: str) -> str:
    """Where a clip is, as seen from the report. A path never becomes another kind of address than http(s) or a file."""
    path = path.replace("\\", "/")
    if not path:
        return ""
    if path.startswith(("http://", "https://")):
        return quote(path, safe="/:?&=%#+,;@~")
    if path.startswith("/"):
        return "file://" + quote(path)
    return quote(f"{clips}/{path}" if clips else f"./{path}")


def _from(report: Path, clips: Path) -> str:
    """The clips' folder relative to the report, so that both can move together."""
    relative = Path(os.path.relpath(clips.resolve(), report.parent.resolve())).as_posix()
    return "" if relative == "." else relative
