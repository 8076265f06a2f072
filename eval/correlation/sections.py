"""A correlation as titled tables, the same for every format, and as text: for a terminal, Markdown, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from eval.correlation.numbers import Correlation
from eval.stats import Number, Quartiles
from eval.writing import signed, table

if TYPE_CHECKING:
    from rich.table import Table

COMPARED = "Models compared on the same clips"


@dataclass(frozen=True)
class Section:
    """A table: the first column is words, the others are numbers. `note` is told below it."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def sections(result: Correlation) -> list[Section]:
    """Everything that has a number; tables without any are left out."""
    made = [
        _agreement(result),
        _errors(result),
        _discrimination(result),
        _segments(result),
        _splits(result),
        _parts(result),
        _halo(result),
        _comparisons(result),
    ]
    return [s for s in made if s is not None]


def models(result: Correlation) -> dict[str, Correlation]:
    """The first model and those it is compared with."""
    return {result.name: result, **result.others}


def meaning(threshold: Number) -> str:
    """What Krasula's threshold says to somebody who holds two predictions."""
    return (
        f"A difference below {threshold.value:.3g} means nothing: 95 % of the pairs that viewers could not tell apart "
        "differ by less."
    )


def _lead(result: Correlation, aspect: str, name: str) -> list[str]:
    return [aspect, name] if result.others else [aspect]


def _head(result: Correlation) -> list[str]:
    return ["aspect", "model"] if result.others else ["aspect"]


def _each(result: Correlation) -> list[tuple[str, str, Correlation]]:
    """(aspect, model, its numbers), aspects together."""
    named = models(result)
    aspects = dict.fromkeys(a for r in named.values() for a in r.aspects)
    return [(a, name, r) for a in aspects for name, r in named.items() if a in r.aspects]


def _agreement(result: Correlation) -> Section:
    rows = []
    for aspect, name, r in _each(result):
        a = r.aspects[aspect]
        gone = [f"{n} {word}" for word, n in r.lost[aspect].model_dump().items() if n]
        rows.append(
            [
                *_lead(result, aspect, name),
                signed(a.srcc, interval=True),
                signed(a.krcc),
                signed(a.plcc, interval=True),
                signed(a.plcc_mapped, interval=True),
                signed(a.rmse, interval=True),
                f"{a.n} of {a.m}" + (f" ({', '.join(gone)})" if gone else ""),
                str(a.groups),
                a.mapping.split(" ")[0],
            ]
        )
    head = ["SRCC [95 % CI]", "KRCC", "PLCC raw", "PLCC mapped", "RMSE", "n of m", "contents", "mapping"]
    note = "Intervals: 95 % bootstrap over contents, the mapping held fixed."
    return Section("Agreement", _head(result) + head, rows, note)


def _errors(result: Correlation) -> Section | None:
    rows = []
    notes = []
    for aspect, name, r in _each(result):
        d = r.details.get(aspect)
        if d is not None and d.rmse_free.value is not None:
            numbers = [d.rmse_free, d.rmse_star, d.outlier_ratio]
            rows.append([*_lead(result, aspect, name), *(signed(n) for n in numbers)])
            notes += [n.note for n in numbers if n.note]
    if not rows:
        return None
    note = "; ".join(["After the mapping, over N - d degrees of freedom", *dict.fromkeys(notes)]) + "."
    return Section("Errors (ITU-T P.1401)", [*_head(result), "RMSE (N-d)", "RMSE*", "outlier ratio"], rows, note)


def _discrimination(result: Correlation) -> Section | None:
    rows, notes = [], []
    for aspect, name, r in _each(result):
        d = r.details[aspect].discrimination if aspect in r.details else None
        if d is not None and d.clips:
            numbers = [signed(n) for n in (d.auc_ds, d.auc_bw, d.cc_0, d.threshold)]
            rows.append([*_lead(result, aspect, name), *numbers, str(d.different), str(d.similar), str(d.clips)])
            if d.threshold.value is not None:
                notes.append(", ".join(_lead(result, aspect, name)) + ": " + meaning(d.threshold))
            if d.clips < r.aspects[aspect].n:
                notes.append(f"{', '.join(_lead(result, aspect, name))}: pairs of {d.clips} evenly spread clips.")
    head = [
        "AUC different/similar",
        "AUC better/worse",
        "right sign",
        "threshold",
        "different pairs",
        "similar pairs",
        "clips",
    ]
    return Section("Pairs (Krasula 2016)", _head(result) + head, rows, " ".join(notes)) if rows else None


def _segments(result: Correlation) -> Section | None:
    rows = []
    for aspect, name, r in _each(result):
        for s in r.details[aspect].segments if aspect in r.details else []:
            span = f"{s.low:.2f} – {s.high:.2f}"
            rows.append([*_lead(result, aspect, name), span, signed(s.srcc, interval=True), str(s.n)])
    note = "Segments hold equally many clips; SRCC inside one is lower than over all, since the range is smaller."
    head = [*_head(result), "labels", "SRCC [95 % CI]", "n"]
    return Section("Inside segments of the labels", head, rows, note) if rows else None


def _splits(result: Correlation) -> Section | None:
    rows = []
    for aspect, name, r in _each(result):
        q = r.details[aspect].splits if aspect in r.details else {}
        if q and q["srcc"].median is not None:
            numbers = [_quartiles(q["srcc"]), _quartiles(q["plcc_mapped"]), str(q["srcc"].splits)]
            rows.append([*_lead(result, aspect, name), *numbers])
    note = "20 % of the contents each; median [quartiles]."
    head = [*_head(result), "SRCC", "PLCC mapped", "splits"]
    return Section("Content-separated splits", head, rows, note) if rows else None


def _quartiles(q: Quartiles) -> str:
    return "–" if q.median is None else f"{q.median:.3f} [{q.low:.3f}, {q.high:.3f}]"


def _parts(result: Correlation) -> Section | None:
    rows = []
    for aspect, name, r in _each(result):
        parts = r.details[aspect].parts if aspect in r.details else []
        for p in parts:
            a = p.agreement
            numbers = [signed(a.srcc, interval=True), signed(a.plcc), signed(a.plcc_mapped), signed(a.rmse)]
            rows.append([*_lead(result, aspect, name), p.part, *numbers, str(a.n), a.mapping.split(" ")[0]])
        whole = [p.agreement for p in parts if p.agreement.srcc.value is not None]
        if len(whole) > 1:
            means = [
                signed(Number(value=sum(getattr(a, k).value for a in whole) / len(whole)))
                for k in ("srcc", "plcc", "plcc_mapped", "rmse")
            ]
            count = str(sum(a.n for a in whole))
            rows.append([*_lead(result, aspect, name), f"mean of {len(whole)}", *means, count, ""])
    head = [*_head(result), "part", "SRCC [95 % CI]", "PLCC raw", "PLCC mapped", "RMSE", "n", "mapping"]
    return Section("Parts, each with its own mapping", head, rows) if rows else None


def _halo(result: Correlation) -> Section | None:
    rows = []
    for name, r in models(result).items():
        if r.halo is not None:
            numbers = [signed(n, interval=True) for n in (r.halo.residual, r.halo.video, r.halo.audio)]
            rows.append([name, *numbers, str(r.halo.n)])
    note = "SRCC(audio - video) is near 0 where one score is copied to both, however good that score is."
    head = ["model", "SRCC(audio - video)", "partial video | audio", "partial audio | video", "n"]
    return Section("Independence of picture and sound", head, rows, note) if rows else None


def _comparisons(result: Correlation) -> Section | None:
    rows = []
    for aspect, found in result.comparisons.items():
        for c in found:
            words = {"srcc": "SRCC", "plcc_mapped": "PLCC mapped", "rmse": "RMSE"}
            ps = [_p(p) for p in (c.p_bootstrap, c.p_bootstrap_holm, c.p_steiger, c.p_steiger_holm)]
            gap = signed(c.difference, interval=True)
            rows.append([f"{aspect}: {c.first} - {c.second}", words[c.statistic], gap, *ps, str(c.n)])
    note = (
        "Two-sided; Holm over the pairs of one statistic. The bootstrap redraws contents, its p is at least "
        "2 / (draws + 1); Steiger's test takes clips as independent and is an approximation for SRCC."
    )
    head = ["difference", "of", "value [95 % CI]", "p bootstrap", "Holm", "p Steiger", "Holm", "n"]
    return Section(COMPARED, head, rows, note) if rows else None


def _p(p: float | None) -> str:
    return "–" if p is None else "<.0001" if p < 1e-4 else f"{p:.4f}"


# ---- as text --------------------------------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def markdown(result: Correlation) -> str:
    """The agreement first, without a heading; the other tables under theirs."""
    first, *rest = sections(result)
    parts = [table(first.head, first.rows), first.note]
    for s in rest:
        parts += [f"### {s.title}", table(s.head, s.rows), s.note]
    return "\n\n".join(p for p in parts if p)


def terminal(result: Correlation, width: int | None = None) -> str:
    """Tables for a screen of `width` columns (default: as wide as the terminal is); too wide ones turned."""
    from rich.console import Console
    from rich.text import Text

    out = StringIO()
    screen, endless = (Console(file=out, width=w, highlight=False, color_system=None) for w in (width, 10_000))
    for k, s in enumerate(sections(result)):
        grid = _grid([s.head, *s.rows])
        turned = _grid(list(zip(s.head, *s.rows, strict=True)))
        if endless.measure(grid).maximum > screen.width >= endless.measure(turned).maximum:
            grid = turned
        endless.print(Text(("\n" if k else "") + s.title), grid, sep="\n")
        if s.note:
            screen.print(Text(s.note))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _grid(lines: Sequence[Sequence[str]]) -> Table:
    """A table whose first line is its head; cells stay whole."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, word in enumerate(lines[0]):
        grid.add_column(Text(word), justify="left" if i == 0 else "right", no_wrap=True)
    for line in lines[1:]:
        grid.add_row(*(Text(cell) for cell in line))
    return grid


def latex(result: Correlation) -> str:
    """One booktabs table per section, everything escaped."""
    return "\n\n".join(_latex(s) for s in sections(result))


def _latex(s: Section) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(escape(c) for c in cells) + r" \\"

    rows = "\n".join(line(r) for r in s.rows)
    return rf"""\begin{{table}}
\centering
\begin{{tabular}}{{l{"r" * (len(s.head) - 1)}}}
\toprule
{line(s.head)}
\midrule
{rows}
\bottomrule
\end{{tabular}}
\caption{{{escape(f"{s.title}. {s.note}".strip())}}}
\end{{table}}"""


def escape(text: str) -> str:
    """Plain text for LaTeX; a minus before a digit becomes a real one."""
    plain = "".join(_LATEX.get(c, c) for c in text)
    return re.sub(r"(?<![\w-])-(?=[\d.])", "$-$", plain)
