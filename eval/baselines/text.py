"""Baselines as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.baselines.features import FeatureStudy
from eval.baselines.fusion import FusionStudy
from eval.markdown import signed, table
from eval.stats import Number, Quartiles

GAPS = 8  # facts named in the note on missing values


def fusion_markdown(found: FusionStudy) -> str:
    """Agreement of every formula, then its coefficients."""
    rows = [
        [
            m.name,
            *(_quartiles(m.splits[k]) for k in ("srcc", "plcc", "rmse")),
            *(signed(m.held_out[k], interval=True) for k in ("srcc", "plcc", "rmse")),
            "–" if m.name == found.reference else signed(m.gain, interval=True),
            "–" if m.p is None else f"{m.p:.3f}",
        ]
        for m in found.models
    ]
    head = ["model", "SRCC", "PLCC", "RMSE", "SRCC all", "PLCC all", "RMSE all", f"SRCC - {found.reference}", "p"]
    formulas = [
        [m.name, m.formula, ", ".join(_coefficient(k, c.value, c.low, c.high) for k, c in m.coefficients.items())]
        for m in found.models
    ]
    return "\n\n".join(
        [
            table(head, rows),
            f"A and V from {found.scores}; {found.clips} clips, {found.contents} contents, 1-5. SRCC, PLCC, RMSE: "
            f"median [quartiles] over the test sides of {found.splits} content-separated splits. All: the "
            f"{found.held_out} clips whose content was held out at least once, with the mean of the predictions they "
            "got then; 95 % intervals and p (Holm) are bootstrapped over contents.",
            table(["model", "formula", "fitted on all clips [quartiles over splits]"], formulas),
        ]
    )


def features_markdown(found: FeatureStudy) -> str:
    """Agreement of every regression, what it rests on, and which facts had to be filled in."""
    rows = []
    for r in found.results:
        a = r.agreement
        chosen = ", ".join(f"{k} {v:g}" for k, v in r.chosen.items())
        numbers = [signed(a.srcc, interval=True), *(signed(x) for x in (a.krcc, a.plcc, a.plcc_mapped, a.rmse))]
        rows.append([f"{r.aspect}, {r.model}", *numbers, f"{a.n} of {a.m}", str(a.groups), str(r.train), chosen])
    head = ["aspect, model", "SRCC", "KRCC", "PLCC raw", "PLCC", "RMSE", "n", "contents", "trained on", "chosen"]
    important = [
        [r.aspect, ", ".join(f"{n} {w:.2f}" for n, w in r.important.items())] for r in found.results if r.important
    ]
    parts = [
        table(head, rows),
        "Trained on split `train`, settings chosen on content-separated parts of it. PLCC and RMSE after the mapping "
        "of every evaluation; 95 % intervals are bootstrapped over contents.",
        table(["aspect", "facts the forest rests on"], important),
    ]
    if found.missing:
        gaps = ", ".join(f"{n} {100 * s:.0f} %" for n, s in list(found.missing.items())[:GAPS])
        more = f" and {len(found.missing) - GAPS} more" if len(found.missing) > GAPS else ""
        parts.append(f"Filled with the training median and marked as missing: {gaps}{more} of the training clips.")
    return "\n\n".join(parts)


def tools_markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """Agreement of every tool with the labels of its aspect and of the whole clip."""
    rows = []
    for v in found:
        numbers = [Number(**v[k]) for k in ("srcc", "krcc", "plcc", "plcc_mapped", "rmse")]
        cells = [signed(x, interval=k == 0) for k, x in enumerate(numbers)]
        rows.append([f"{v['aspect']}, {v['tool']}", *cells, f"{v['n']} of {v['m']}", str(v["groups"])])
    head = ["aspect, tool", "SRCC [95 % CI]", "KRCC", "PLCC raw", "PLCC", "RMSE", "n", "contents"]
    sources = dict.fromkeys(f"{v['tool']}: {v['source']}." for v in found)
    return "\n\n".join([table(head, rows), *sources])


def _quartiles(q: Quartiles) -> str:
    return "–" if q.median is None else f"{q.median:.3f} [{q.low:.3f}, {q.high:.3f}]"


def _coefficient(name: str, value: float, low: float, high: float) -> str:
    if low == high:  # a constant
        return f"{name} = {value:.8g}"
    return f"{name} = {value:.4g} [{low:.4g}, {high:.4g}]"
