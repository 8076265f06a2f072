"""Statistics of a record file for people: tables for a terminal, one HTML file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_recipes.formats.files import write_html
from data_recipes.sets.stats import Histogram, Scores, Stats
from mllm_avqa.report.labels import visible
from mllm_avqa.schema.levels import WORDS

if TYPE_CHECKING:
    from rich.console import RenderableType

_BARS = " ▁▂▃▄▅▆▇█"
_TEMPLATE = Path(__file__).with_name("stats.html.j2")


def bars(histogram: Histogram) -> str:
    """A histogram as a line of blocks; a bin that holds anything is never blank."""
    top = max(histogram.counts) or 1
    return "".join(_BARS[-(-8 * n // top)] for n in histogram.counts)


def scale(s: Scores) -> str:
    return f"{s.low:g}–{s.high:g}{'' if s.higher_is_better else ' ↓'}"


def as_tables(stats: Stats) -> RenderableType:
    """The statistics as rich tables. Names that strangers chose are never parsed as markup."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(head(stats), "bold")]
    splits = ("train", "val", "test", "none")
    rows = [[d, *(str(by.get(s, 0)) for s in splits), str(sum(by.values()))] for d, by in stats.splits.items()]
    parts.append(_table("Clips", ("dataset", *splits, "all"), rows))
    if stats.scores:
        titles = ("dataset", "aspect", "n", "missing", "pseudo", "with std", "scale", "mean", "std", "on 1–5", "1 … 5")
        parts.append(_table("Labels", titles, [_scores(s) for s in stats.scores]))
        rows = [[s.dataset, s.aspect, *(f"{s.levels[w] / s.n:.0%}" for w in reversed(WORDS))] for s in stats.scores]
        parts.append(_table("Level words", ("dataset", "aspect", *reversed(WORDS)), rows))
    rows = [[m, k, *map(str, n), str(sum(n))] for m, kinds in stats.faults.items() for k, n in kinds.items()]
    if rows:
        parts.append(_table("Faults by level", ("modality", "kind", "1", "2", "3", "4", "5", "all"), rows))
    rows = [
        [stage, task, *(str(by.get(lang, 0)) for lang in ("en", "zh"))]
        for stage, tasks in stats.questions.items()
        for task, by in sorted(tasks.items())
    ]
    if rows:
        parts.append(_table("Questions", ("stage", "task", "en", "zh"), rows))
    for title, counts in others(stats):
        parts.append(_table(title, ("", "clips"), [[k, str(n)] for k, n in counts.items()]))
    return Group(*parts)


def head(stats: Stats) -> str:
    groups = f"{'' if stats.groups_exact else 'about '}{stats.groups:,} groups"
    length = f"{stats.hours:.2f} h" + (f" + {stats.unknown_length:,} of unknown length" if stats.unknown_length else "")
    return f"{stats.records:,} clips, {groups}, {length}, {stats.descriptions:,} with a description"


def others(stats: Stats) -> list[tuple[str, Mapping[str, int]]]:
    """(title, counts) of what is shown as a plain list."""
    return [
        ("Clips by labels", stats.labelled),
        ("Faults per clip", stats.faults_per_clip),
        ("Texts given with clips", stats.contexts),
        ("Licences", stats.licences),
        ("File types", stats.suffixes),
    ]


def _scores(s: Scores) -> list[str]:
    native = [f"{s.mean:.2f}", f"{s.std:.2f}", f"{s.mean_five:.2f}"]
    return [s.dataset, s.aspect, *map(str, (s.n, s.missing, s.pseudo, s.with_std)), scale(s), *native, bars(s.five)]


def _table(title: str, columns: Iterable[str], rows: list[list[str]]) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    columns = list(columns)
    for i, name in enumerate(columns):
        is_name = not all(row[i].replace(".", "").replace("%", "").isdigit() for row in rows)
        table.add_column(name, justify="left" if is_name else "right", no_wrap=i > 1)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return Group(Text(f"\n{title}", "bold"), table)


def write_report(stats: Stats, path: Path, title: str) -> None:
    """Write the report as one HTML file without scripts. Raises OutputError when it can not be written."""
    by_aspect: dict[str, list[Scores]] = {}
    for s in stats.scores:
        by_aspect.setdefault(s.aspect, []).append(s)
    told = {"title": title, "head": head(stats), "words": WORDS[::-1], "aspects": by_aspect, "others": others(stats)}
    write_html(path, _TEMPLATE, stats=stats, scale=scale, **told)
