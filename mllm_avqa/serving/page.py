"""The web page: plain templates, one script, one style sheet, nothing from elsewhere; it speaks to the API alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from mllm_avqa.report import digest
from mllm_avqa.report.coverage import coverage_lines, where
from mllm_avqa.report.html import data_uri
from mllm_avqa.report.labels import clock, signed
from mllm_avqa.report.page import render_page
from mllm_avqa.schema.names import LANGUAGES, SIDES, Language
from mllm_avqa.schema.rating import ASPECTS, Finding, Rating, ScoreDistribution
from mllm_avqa.schema.words import load_prompts, translated
from mllm_avqa.serving.house import House
from mllm_avqa.serving.orders import Order
from mllm_avqa.serving.refusals import NotHeld

_HERE = files("mllm_avqa.serving")
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {"page.js": "text/javascript", "page.css": "text/css"}


@dataclass(frozen=True)
class Mark:
    """A stretch of the timeline: seconds, and its place in percent."""

    start: float
    left: float
    width: float
    tone: str
    text: str
    tip: str


@dataclass(frozen=True)
class PageLane:
    label: str
    marks: Sequence[Mark]


def page_routes(house: House) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page(request: Request, lang: str | None = None) -> Response:
        language = _language(request, lang)
        words, tables = load_prompts("page", language), load_prompts("words", language)
        loaded = bool(house.desk.raters)
        card = house.desk.rater.card if loaded else None
        aspects = [(a, tables["aspects"][a]) for a in ASPECTS]
        html = render_page(
            _HERE.joinpath("page.html.j2"),
            lang=language,
            words=words,
            report=tables["report"],
            script={"lang": language, "model": card.name if card else "", "words": dict(words)},
            model=card.name if card else "",
            limits=" ".join(translated(card.limits, language).split()) if card else "",
            locked=bool(house.doors.keys),
            columns=[("name", words["clip"]), *aspects, ("found", words["found"]), ("state", words["state"])],
        )
        return HTMLResponse(html, headers={"Content-Security-Policy": _CSP})

    @router.get("/{name}.{kind}")
    async def own(name: str, kind: str) -> Response:
        file = f"{name}.{kind}"
        if file not in _FILES:
            raise NotHeld("nothing is here")
        return Response(_HERE.joinpath(file).read_bytes(), media_type=_FILES[file])

    @router.get("/page/ratings/{name}")
    async def one(request: Request, name: str) -> Response:
        order = house.orders.get(name, house.owner(request))
        return HTMLResponse(render_part(_rated(order), order))

    @router.get("/page/compare/{first}/{second}")
    async def two(request: Request, first: str, second: str) -> Response:
        owner = house.owner(request)
        orders = [house.orders.get(name, owner) for name in (first, second)]
        return HTMLResponse(render_compared([_rated(o) for o in orders]))

    return router


def _rated(order: Order) -> Rating:
    if order.rating is None:
        raise NotHeld("this rating is not done")
    return order.rating


def _language(request: Request, wanted: str | None) -> Language:
    """The language that is asked for, or the browser's first one that the page speaks."""
    told = [wanted or "", *request.headers.get("accept-language", "").split(",")]
    for tag in told:
        for language in LANGUAGES:
            if tag.strip().lower().split(";")[0].split("-")[0] == language:
                return language
    return "en"


def render_part(rating: Rating, order: Order) -> str:
    """What the page shows of one rating, as a piece of HTML in the rating's language."""
    lang = rating.language
    words, tables = load_prompts("page", lang), load_prompts("words", lang)
    return render_page(
        _HERE.joinpath("part.html.j2"),
        rating=rating,
        words=words,
        tables=tables,
        report=tables["report"],
        scores=digest.score_lines(rating),
        ranges={a: _range(d, words) for a, d in rating.scores.items() if d is not None},
        seconds=digest.clip_seconds(rating),
        tracks=_lanes(rating),
        curves=_curves(rating, words["curves"]),
        coverage=coverage_lines(rating, lang),
        where=lambda m: where(m, rating, lang),
        stretches=_stretches,
        claims=digest.claims(rating),
        findings=list(zip(rating.findings, digest.finding_lines(rating, lang), strict=True)),
        helps=digest.remedy_lines(rating, lang),
        faults=digest.faults(rating),
        harmless=digest.harmless(rating),
        unmeasured=digest.unmeasured(rating),
        value=lambda m: digest.value(m, lang),
        called=lambda name: digest.fact_label(name, lang),
        describe=lambda name: digest.explained(name, lang),
        thumbnails=[(t.time, data_uri(t.image)) for t in order.thumbnails],
    )


def _range(dist: ScoreDistribution, words: Any) -> str:
    if dist.interval is None:
        return f"± {dist.std:.2f}"
    i = dist.interval
    return str(words["interval"]).format(coverage=f"{100 * i.coverage:g}", low=f"{i.low:.2f}", high=f"{i.high:.2f}")


def _lanes(rating: Rating) -> list[PageLane]:
    """Scores over time, findings by side, and measured faults that have a place of their own."""
    seconds, lang = digest.clip_seconds(rating), rating.language
    tables = load_prompts("words", lang)

    def mark(start: float, end: float, tone: str, text: str, tip: str) -> Mark:
        left = 100 * min(1.0, max(0.0, start / seconds)) if seconds > 0 else 0.0
        width = max(1.5, 100 * min(1.0, end / seconds) - left) if seconds > 0 else 100.0
        return Mark(round(start, 2), round(min(left, 98.5), 2), round(width, 2), tone, text, tip)

    lanes = []
    for aspect in ASPECTS:
        steps = [(w, d) for w in rating.windows if (d := w.scores.get(aspect)) is not None]
        tips = [f"{clock(w.start)}–{clock(w.end)}: {d.score:.2f} {tables['levels'][d.level]}" for w, d in steps]
        marks = [mark(w.start, w.end, d.level, f"{d.score:.1f}", tip) for (w, d), tip in zip(steps, tips, strict=True)]
        if marks:
            lanes.append(PageLane(tables["aspects"][aspect], marks))
    for side in SIDES:
        marks = [
            mark(*span, f.severity, f.name, f"{f.name}: {tables['severities'][f.severity]}")
            for f in rating.findings
            if f.side == side
            for span in _stretches(f) or [(0.0, seconds)]
        ]
        lanes += [PageLane(f"{tables['report']['findings']}: {tables['aspects'][side]}", marks)] if marks else []
    for m in digest.faults(rating):
        tip = f"{digest.fact_label(m.name, lang)} {digest.value(m, lang)}: {tables['severities'][m.severity]}"
        if m.spans:
            lanes.append(
                PageLane(digest.fact_label(m.name, lang), [mark(s, e, m.severity, "", tip) for s, e in m.spans])
            )
    return lanes


def _stretches(finding: Finding) -> list[tuple[float, float]]:
    """When it is there; empty: throughout."""
    return finding.spans or ([finding.span] if finding.span is not None else [])


@dataclass(frozen=True)
class TimeCurve:
    """What changes from second to second, in a box of 1000 x 100; a line for every stretch with values."""

    label: str
    range: str
    lines: Sequence[str]


def _curves(rating: Rating, labels: dict[str, str]) -> list[TimeCurve]:
    seconds, curves = digest.clip_seconds(rating), []
    line = rating.whole.timeline if rating.whole is not None and seconds > 0 else None
    for name, values in line.facts.items() if line is not None else ():
        known = [v for v in values if v is not None]
        if line is None or name not in labels or len(known) < 2 or min(known) == max(known):
            continue
        low, high = min(known), max(known)
        stretches: list[list[str]] = [[]]
        for k, v in enumerate(values):
            if v is None:
                stretches.append([])
                continue
            x = 1000 * min(1.0, (k + 0.5) * line.step / seconds)
            stretches[-1].append(f"{x:.1f},{95 - 90 * (v - low) / (high - low):.1f}")
        curves.append(TimeCurve(labels[name], f"{low:g}–{high:g}", [" ".join(s) for s in stretches if len(s) > 1]))
    return curves


@dataclass(frozen=True)
class ComparedRow:
    aspect: str
    dists: Sequence[ScoreDistribution | None]
    told: str


def render_compared(ratings: Sequence[Rating]) -> str:
    """Two ratings side by side; a difference counts where neither score lies in the other's interval."""
    lang = ratings[0].language
    words, tables = load_prompts("page", lang), load_prompts("words", lang)
    rows = []
    for aspect in ASPECTS:
        a, b = (r.scores.get(aspect) for r in ratings)
        told = "–"
        if a is not None and b is not None:
            gap = b.score - a.score
            inside = any(
                d.interval is not None and d.interval.low <= other.score <= d.interval.high
                for d, other in ((a, b), (b, a))
            )
            verdict = words["same"] if inside else words["better"] if gap > 0 else words["worse"]
            told = f"{signed(gap)} ({verdict})"
        rows.append(ComparedRow(aspect, (a, b), told))
    return render_page(
        _HERE.joinpath("compare.html.j2"),
        names=[r.path for r in ratings],
        words=words,
        tables=tables,
        rows=rows,
        findings=[digest.finding_lines(r, lang) for r in ratings],
    )
