"""Tables as text: for a terminal, Markdown, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from eval.markdown import table
from eval.report.schema import Correlation
from eval.report.sections import Section, sections

if TYPE_CHECKING:
    from rich.table import Table

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
