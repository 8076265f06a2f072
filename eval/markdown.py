"""Plain Markdown tables, aligned so that they read well in a terminal too."""

from __future__ import annotations

from collections.abc import Sequence

from eval.stats import Number


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """First column left, the others right."""
    cells = [[c.replace("|", "\\|") for c in row] for row in [head, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "| " + " | ".join(parts) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def signed(number: Number, interval: bool = False) -> str:
    """.842 [.801, .877], or a dash: the reason is told beside the table."""
    if number.value is None:
        return "–"
    text = f"{number.value:.3f}"
    if interval and number.low is not None and number.high is not None:
        text += f" [{number.low:.3f}, {number.high:.3f}]"
    return text
