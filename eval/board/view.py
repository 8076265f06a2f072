"""A board as tables of text, the same for the page and for Markdown: who is best, and where a baseline wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.board.reading import Board, Result
from eval.stats import Number
from eval.studies import kind
from eval.study import Heading, Line
from eval.writing import page, table, write_text

NAMED = 5  # clips named in a note; the rest are counted
NO_VALUE = "–"


@dataclass(frozen=True)
class Cell:
    text: str
    span: str = ""  # interval
    mark: str = ""  # "best" of the checkpoints; "wins": a baseline that a checkpoint does not reach
    note: str = ""  # why there is no number, or no interval


@dataclass(frozen=True)
class TableRow:
    what: str
    who: str
    baseline: bool
    cells: list[Cell]
    n: str


@dataclass(frozen=True)
class BoardTable:
    title: str
    head: list[str]
    rows: list[TableRow]


@dataclass(frozen=True)
class BoardSection:
    """One task."""

    name: str
    title: str
    about: str
    tables: list[BoardTable]
    notes: list[str]
    commands: list[tuple[str, str]]
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class View:
    overview: BoardTable
    wins: list[str]
    sections: list[BoardSection]


def view(board: Board) -> View:
    kinds = {r.task: _shown(r.kind) for r in board.results}
    return View(
        overview=_overview(board, kinds),
        wins=[w for r in board.results for w in _wins(r, kinds[r.task])],
        sections=[_section(r, kinds[r.task]) for r in board.results],
    )


def _shown(name: str) -> Heading:
    found = kind(name).shown
    assert found is not None  # of every kind of task
    return found


def _section(result: Result, k: Heading) -> BoardSection:
    notes = [f"{who}: {_lost(found)}" for who, found in result.lost.items()] + result.notes
    commands: dict[str, str] = {}
    for line in result.lines:
        if line.command and line.command not in commands.values():
            commands.setdefault(line.who if line.who not in commands else f"{line.who}, {line.what}", line.command)
    titles = list(dict.fromkeys(line.table for line in result.lines))
    return BoardSection(
        name=result.task,
        title=k.title,
        about=f"{result.about} (version {result.version})" if result.about else f"version {result.version}",
        tables=[_table(t, [line for line in result.lines if line.table == t], k) for t in titles],
        notes=notes,
        commands=list(commands.items()),
        failed=list(result.failed.items()),
    )


def _table(title: str, lines: Sequence[Line], k: Heading) -> BoardTable:
    """Lines of one respect together, checkpoints before baselines."""
    known = {c for line in lines for c, n in line.values.items() if n.value is not None}
    columns = [c for c in dict.fromkeys(c for line in lines for c in line.values) if c in known]
    order = {w: i for i, w in enumerate(dict.fromkeys(line.what for line in lines))}
    rows = [
        TableRow(
            line.what,
            line.who,
            line.baseline,
            [_cell(line, c, lines, k) for c in columns],
            str(line.n) if line.of in (None, line.n) else f"{line.n} of {line.of}",
        )
        for line in sorted(lines, key=lambda x: (order[x.what], x.baseline))
    ]
    return BoardTable(title, ["", "who", *columns, "n"], rows)


def _cell(line: Line, column: str, lines: Sequence[Line], k: Heading) -> Cell:
    n = line.values.get(column)
    if n is None or n.value is None:
        return Cell(NO_VALUE, note="" if n is None else n.note)
    mark = ""
    if column in k.gains:
        mark = "wins" if n.value < 0 else ""
    elif column not in k.plain:
        rivals = [x.values[column].value for x in _rivals(line, lines) if column in x.values]
        given = [v for v in rivals if v is not None]
        if line.baseline:
            mark = "wins" if any(_better(n.value, v, column, k) for v in given) else ""
        elif len(given) > 1 and not any(_better(v, n.value, column, k) for v in given):
            mark = "best"
    text = f"{n.value:g}" if column in k.counts else f"{n.value:.3f}"
    return Cell(text, _span(n, "g" if column in k.counts else ".3f"), mark, n.note)


def _rivals(line: Line, lines: Sequence[Line]) -> list[Line]:
    """The checkpoints' lines in the same respect, over as many clips; of a baseline that belongs to one, that one's."""
    same = [x for x in lines if (x.what, x.table, x.n) == (line.what, line.table, line.n) and not x.baseline]
    return [x for x in same if not line.beside or x.who == line.beside]


def _better(a: float, b: float, column: str, k: Heading) -> bool:
    return a < b if column in k.lower else a > b


def _span(n: Number, form: str) -> str:
    return "" if n.low is None or n.high is None else f"{n.low:{form}} to {n.high:{form}}"


def _wins(result: Result, k: Heading) -> list[str]:
    """Where a baseline reaches more than a checkpoint, in the first column that is a contest."""
    out = []
    for line in result.lines:
        column = next((c for c in line.values if c not in k.plain), None)
        value = None if column is None else line.values[column].value
        if column is None or value is None:
            continue
        where = f"{result.task}, {line.what}"
        if column in k.gains and value < 0:
            out.append(f"{where}: {line.who} loses {-value:.3f} ({column})")
        for rival in _rivals(line, result.lines) if line.baseline else ():
            theirs = rival.values[column].value if column in rival.values else None
            if theirs is not None and _better(value, theirs, column, k):
                out.append(f"{where}, {column}: {line.who} {value:.3f} against {rival.who} {theirs:.3f}")
    return out


def _overview(board: Board, kinds: dict[str, Heading]) -> BoardTable:
    """One number per task: of every checkpoint, and the best that any baseline reaches."""
    baselines = [_best_baseline(r, kinds[r.task]) for r in board.results]
    shown = any(c.text != NO_VALUE for c in baselines)
    rows = []
    for r, baseline in zip(board.results, baselines, strict=True):
        k = kinds[r.task]
        own = [_headline(r, name, k) for name in board.checkpoints]
        table, what, column = _respect(r, k)
        number = column if what == "all" else f"{what} {column}"
        number += f" ({table})" if table else ""
        rows.append(TableRow(r.task, number, False, [*own, *([baseline] if shown else [])], ""))
    return BoardTable("", ["", "number", *board.checkpoints, *(["best baseline"] if shown else []), ""], rows)


def _respect(result: Result, k: Heading) -> tuple[str, str, str]:
    """(table, what, column) of the overview: what the kind names, or the first that this task has, e.g. an aspect."""
    table, what, column = k.headline
    there = [x.what for x in result.lines if x.table == table and column in x.values]
    return table, what if what in there or not there else there[0], column


def _headline(result: Result, who: str, k: Heading) -> Cell:
    table, what, column = _respect(result, k)
    lines = [x for x in result.lines if (x.table, x.what) == (table, what)]
    own = next((x for x in lines if x.who == who and not x.baseline), None)
    if own is None:
        return Cell(NO_VALUE, note=result.failed.get(who, result.failed.get("all", "")))
    return _cell(own, column, lines, k)


def _best_baseline(result: Result, k: Heading) -> Cell:
    table, what, column = _respect(result, k)
    lines = [x for x in result.lines if (x.table, x.what) == (table, what) and column in x.values]
    given = [(x.values[column].value, x) for x in lines if x.baseline]
    known = [(v, x) for v, x in given if v is not None]
    if not known:
        return Cell(NO_VALUE)
    value, line = (min if column in k.lower else max)(known, key=lambda pair: pair[0])
    return Cell(f"{value:.3f}", line.who, _cell(line, column, lines, k).mark)


def _lost(found: Sequence[str]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{len(found)} without a result: {'; '.join(found[:NAMED])}{more}"


# ---- Markdown --------------------------------------------------------------------------------------------------------


def markdown(board: Board) -> str:
    """The board as Markdown. Bold: best checkpoint; an arrow: a baseline that a checkpoint does not reach."""
    v = view(board)
    parts = [f"# Suite {board.suite} (version {board.version})", board.about, "\n".join(f"- {n}" for n in board.notes)]
    parts.append(_text(v.overview))
    if v.wins:
        parts += ["## Where a baseline wins", "\n".join(f"- {w}" for w in v.wins)]
    for s in v.sections:
        parts += [f"## {s.name}: {s.title}", s.about]
        parts += [f"**{who}**: {why}" for who, why in s.failed]
        for t in s.tables:
            parts += [f"### {t.title}" if t.title else "", _text(t)]
        parts.append("\n".join(f"- {n}" for n in s.notes))
        if s.commands:
            parts.append("```\n" + "\n".join(command for _, command in s.commands) + "\n```")
    parts.append(f"All of it: `{board.command}`. {_seconds(board)}")
    return "\n\n".join(p for p in parts if p)


def _seconds(board: Board) -> str:
    whole, model = board.seconds["all"], board.seconds["model"]
    return f"{whole:.1f} s, of which {model:.1f} s in models and what feeds them."


def _text(t: BoardTable) -> str:
    shown = [k for k, h in enumerate(t.head) if h or (any(r.what for r in t.rows) and k == 0)]
    rows = []
    for r in t.rows:
        cells = [r.what, r.who, *(_plain(c) for c in r.cells), r.n]
        rows.append([cells[k] for k in shown])
    return table([t.head[k] for k in shown], rows)


def _plain(c: Cell) -> str:
    text = {"best": f"**{c.text}**", "wins": f"▲ {c.text}"}.get(c.mark, c.text)
    return f"{text} [{c.span}]" if c.span else text


HERE = Path(__file__).parent
NAME = "leaderboard"


def write_board(board: Board, folder: Path) -> str:
    """Write leaderboard.html, .md and .json; returns the page's path. Raises OutputError."""
    texts = {"html": render(board), "md": markdown(board) + "\n", "json": board.model_dump_json(indent=1) + "\n"}
    for ending, text in texts.items():
        write_text(folder / f"{NAME}.{ending}", text)
    return f"{folder / NAME}.html"


def render(board: Board) -> str:
    return page(HERE / f"{NAME}.html.j2", board=board, view=view(board))
