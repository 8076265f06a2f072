"""A rating for a terminal, drawn with rich."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mllm_avqa.report import digest
from mllm_avqa.report.coverage import coverage_lines, spans_told
from mllm_avqa.report.labels import clock, signed, visible
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.rating import Attribution, Rating, ScoreDistribution
from mllm_avqa.schema.words import load_prompts, translated

Tables = Mapping[str, Any]  # prompts/words.<language>.yaml
_BAR = 24  # cells for the range 1..5
_FAULTS = 8  # faults shown; the rest is counted
_HELPS = 3
_STYLE = {"excellent": "green", "good": "green", "fair": "yellow", "poor": "red", "bad": "bold red"}
_SEVERITY_STYLE = {"severe": "bold red", "strong": "red", "moderate": "yellow", "slight": "cyan", "faint": "dim"}
_MARK = {"supported": ("✓", "green"), "contradicted": ("✗", "bold red"), "unverified": ("?", "dim")}
_SPARK = "▁▂▃▄▅▆▇█"


def render(rating: Rating, limits: str = "") -> RenderableType:
    """The report as a rich renderable. `limits`: what the checkpoint's card says it can not do, one line.

    Text of strangers is never parsed as markup and holds no control characters.
    """
    lang = rating.language if rating.language in LANGUAGES else "en"
    tables = load_prompts("words", lang)
    words = tables["report"]
    media = ", ".join(visible(v) for _, v in digest.media_facts(rating, lang)[1:])
    parts: list[RenderableType] = [Text(visible(rating.path), "bold"), Text(media, "dim"), Text()]
    parts.append(_scores(rating, tables))
    parts += [_in(Text(line, "dim")) for line in coverage_lines(rating, lang)]
    if len(rating.windows) > 1:
        parts += [_head(words["timeline"]), _timeline(rating, tables)]
    if digest.claims(rating):
        parts += [_head(words["explanation"]), _claims(rating, tables)]
    if rating.findings:
        parts += [_head(words["findings"]), _findings(rating, tables)]
    if rating.remedies:
        lines = [Text(f"{visible(text)}  {worth}") for text, worth in digest.remedy_lines(rating, lang)[:_HELPS]]
        parts += [_head(words["helps"]), *map(_in, lines)]
    parts += [_head(words["evidence"]), _evidence(rating, tables)]
    if rating.attribution is not None:
        parts += [_head(words["attribution"]), _shares(rating.attribution, tables)]
    if rating.context.sources or rating.context.items:
        parts += [_head(words["context"]), _context(rating, tables)]
    if rating.warnings:
        parts += [_head(words["warnings"]), *(_in(Text(f"! {visible(w)}", "yellow")) for w in rating.warnings)]
    if limits:
        parts += [Text(), Text(f"{words['limits']}: {visible(' '.join(translated(limits, lang).split()))}", "dim")]
    return Group(*parts)


def _head(title: str) -> Text:
    return Text(f"\n{title}", "bold")


def _in(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, 2))


def _grid(*ratios: int | None) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for ratio in ratios:
        table.add_column(no_wrap=ratio is None, overflow="fold", ratio=ratio)
    return table


def _bar(dist: ScoreDistribution) -> Text:
    filled = round((min(5.0, max(1.0, dist.score)) - 1) / 4 * _BAR)
    return Text("━" * filled, _STYLE[dist.level]) + Text("─" * (_BAR - filled), "bright_black")


def _scores(rating: Rating, tables: Tables) -> RenderableType:
    table = _grid(None, None, None, 1)
    for line in digest.score_lines(rating):
        label = Text(tables["aspects"][line.aspect], "bold" if line.aspect == "overall" else "")
        if line.dist is None:
            why = f"{tables['report']['no_score']}: {visible(line.missing)}"
            table.add_row(label, Text("–", "dim"), Text("·" * _BAR, "dim"), Text(why, "dim"))
        else:
            level = Text(tables["levels"][line.dist.level], _STYLE[line.dist.level])
            level.append(f"  ±{line.dist.std:.2f}" + (f"  {line.dist.interval}" if line.dist.interval else ""), "dim")
            table.add_row(label, Text(f"{line.dist.score:.2f}", "bold"), _bar(line.dist), level)
    return _in(table)


def _timeline(rating: Rating, tables: Tables) -> RenderableType:
    table = _grid(None, None)
    first, last = rating.windows[0], rating.windows[-1]
    for aspect, label in tables["aspects"].items():
        if not any(w.scores.get(aspect) for w in rating.windows):
            continue
        cells = Text()
        for window in rating.windows:
            dist = window.scores.get(aspect)
            step = _SPARK[round((min(5.0, max(1.0, dist.score)) - 1) / 4 * 7)] if dist else "·"
            cells.append(step * 2 + " ", _STYLE[dist.level] if dist else "dim")
        table.add_row(Text(label), cells)
    table.add_row(Text(), Text(f"{clock(first.start)} – {clock(last.end)}, {len(rating.windows)} x", "dim"))
    return _in(table)


def _claims(rating: Rating, tables: Tables) -> RenderableType:
    table = _grid(None, 1)
    for claim in digest.claims(rating):
        mark, style = _MARK[claim.support]
        body = Text(visible(claim.text.strip()))
        if claim.support != "unverified":
            because = f" ({tables['supports'][claim.support]}{': ' if claim.because else ''}{visible(claim.because)})"
            body.append(because, style if claim.support == "contradicted" else "dim")
        table.add_row(Text(mark, style), body)
    note = [_in(Text(f"? {tables['report']['unchecked']}", "dim"))] if digest.unchecked(rating) else []
    return Group(_in(table), *note)


def _findings(rating: Rating, tables: Tables) -> RenderableType:
    table = _grid(None, None, None, None, 1)
    for f in digest.finding_lines(rating, tables["language"]):
        severity = Text(tables["severities"][f.severity], _SEVERITY_STYLE.get(f.severity, ""))
        detail = "; ".join(x for x in (f.where, f.facts) if x)
        side = Text(tables["aspects"][f.side], "dim")
        table.add_row(severity, Text(visible(f.name)), side, Text(f.sure, "dim"), Text(visible(detail), "dim"))
    return _in(table)


def _evidence(rating: Rating, tables: Tables) -> RenderableType:
    words, found = tables["report"], digest.faults(rating)
    if not found:
        return _in(Text(words["clean"], "dim"))
    table = _grid(None, None, None, 1)
    for m in found[:_FAULTS]:
        style = _SEVERITY_STYLE[m.severity]
        detail = "; ".join(x for x in (spans_told(m.spans), visible(m.note)) if x)
        name, value = digest.fact_label(m.name, tables["language"]), digest.value(m, tables["language"])
        severity = Text(tables["severities"][m.severity], style)
        table.add_row(severity, Text(visible(name)), Text(visible(value)), Text(detail, "dim"))
    rest = len(found) - _FAULTS
    more = ([f"+{rest}"] if rest > 0 else []) + [words["quiet"].format(n=len(digest.harmless(rating)))]
    return Group(_in(table), _in(Text("; ".join(more), "dim")))


def _shares(found: Attribution, tables: Tables) -> RenderableType:
    words, aspects = tables["report"], list(found.inputs)
    table = _grid(*[None] * (len(aspects) + 1))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row(Text(), *(Text(tables["aspects"][a], "dim") for a in aspects))
    table.add_row(Text(words["nothing_given"]), *(Text(f"{found.inputs[a].empty:.2f}") for a in aspects))
    for line in digest.share_lines(found):
        label = Text("  " * line.part + digest.player(line, tables))
        table.add_row(label, *(_share(line.shares.get(a, 0.0), line.part) for a in aspects))
    table.add_row(
        Text(words["everything_given"], "bold"), *(Text(f"{found.inputs[a].full:.2f}", "bold") for a in aspects)
    )
    return Group(_in(table), *(_in(Text(note, "dim")) for note in digest.share_notes(found, tables["language"])))


def _share(value: float, part: bool) -> Text:
    text = signed(value)
    tone = "dim" if text == "0" else "green" if value > 0 else "red"
    return Text(text, f"{tone} dim" if part and tone != "dim" else tone)


def _context(rating: Rating, tables: Tables) -> RenderableType:
    table = _grid(None, 1)
    for source in rating.context.sources:
        state = tables["statuses"][source.status] + (f": {visible(source.detail)}" if source.detail else "")
        table.add_row(Text(tables["origins"][source.origin]), Text(state, "" if source.status == "ok" else "dim"))
        for item in [i for i in rating.context.items if i.origin == source.origin][:3]:
            text = visible(" ".join(item.text.split()))
            table.add_row(Text(), Text(f"“{text[:160]}{'…' if len(text) > 160 else ''}”", "italic"))
    return _in(table)
