"""Comparisons for people: lines for a terminal and one page side by side. Words are in prompts/compare.*.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mllm_avqa.report import digest
from mllm_avqa.report.html import Thumbnail, data_uri
from mllm_avqa.report.labels import amount, clock, signed, visible
from mllm_avqa.report.page import render_page
from mllm_avqa.schema.comparison import AspectVerdict, ComparedClips, PickedTakes, Reason, Which
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.words import load_prompts, translated

WHICH: tuple[Which, Which] = ("first", "second")


@dataclass(frozen=True)
class VerdictLine:
    """One aspect of two clips, ready to be shown."""

    aspect: str
    name: str
    scores: tuple[str, str]
    verdict: str
    detail: str
    better: str  # "first", "second" or "" where there is hardly a difference


def verdict_lines(c: ComparedClips, numbers: tuple[int, int] | None = None) -> Iterator[VerdictLine]:
    """numbers: what the two are called among several; None: the first and the second."""
    words, tables = (load_prompts(n, c.first.language) for n in ("compare", "words"))
    which = called(words, numbers)
    for aspect in ASPECTS:
        pair = (c.first.scores.get(aspect), c.second.scores.get(aspect))
        scores = tuple(f"{d.score:.2f}" if d else "–" for d in pair)
        verdict = c.verdicts.get(aspect)
        if verdict is None:
            told, detail, better = "–", c.missing.get(aspect, ""), ""
        else:
            told, detail = sentence(verdict, words, which), details(verdict, words, which)
            better = "" if verdict.sure == "open" else verdict.better
        yield VerdictLine(aspect, tables["aspects"][aspect], (scores[0], scores[1]), told, detail, better)


def called(words: Mapping[str, Any], numbers: tuple[int, int] | None) -> dict[str, str]:
    """What each of two clips is called in a sentence."""
    if numbers is None:
        return dict(words["which"])
    return {w: words["number"].format(n=n) for w, n in zip(("first", "second"), numbers, strict=True)}


def sentence(v: AspectVerdict, words: Mapping[str, Any], which: Mapping[str, str]) -> str:
    return str(words["sure"][v.sure]).format(better=which[v.better])


def details(v: AspectVerdict, words: Mapping[str, Any], which: Mapping[str, str]) -> str:
    sure = max(v.probability, 1 - v.probability)
    p = f"{100 * min(sure, 0.999):.0f} %" if sure < 0.995 else "> 99 %"
    told = [signed(v.difference), words["probability"].format(p=p, better=which[v.better]), words["by"][v.by]]
    if v.least is not None:
        told.append(words["least"].format(points=f"{v.least:.2f}"))
    return "; ".join(told)


def alignment(c: ComparedClips) -> str:
    words = load_prompts("compare", c.first.language)
    if not c.alignment.same:
        return str(words["other"])
    told = [words["same"].format(sides=", ".join(words["sides"].get(s, s) for s in c.alignment.same))]
    if c.alignment.lag:
        told.append(words["late" if c.alignment.lag > 0 else "early"].format(seconds=f"{abs(c.alignment.lag):g}"))
    return "; ".join(told)


def against(c: ComparedClips, which: Which) -> list[str]:
    """What speaks against one of the two, worst first."""
    return [reason(r, c.first.language) for r in c.differing if r.against == which]


def reason(r: Reason, language: str) -> str:
    words, tables = (load_prompts(n, language) for n in ("compare", "words"))
    here, there = ("first", "second") if r.against == "first" else ("second", "first")

    def told(which: str) -> str:
        severity = tables["severities"][getattr(r, f"{which}_severity")]
        return severity if r.kind == "finding" else f"{amount(getattr(r, which), r.unit)} ({severity})"

    name = digest.fact_label(r.name, language) if r.kind == "fact" else r.name
    return str(words["alone"]).format(name=name, severity=told(here), other=told(there))


def text(c: ComparedClips) -> str:
    """A comparison for a terminal."""
    words = load_prompts("compare", c.first.language)
    out = [f"1  {c.first.path}", f"2  {c.second.path}", alignment(c), ""]
    for line in verdict_lines(c):
        out.append(f"{line.name:<9} {line.scores[0]:>5} {line.scores[1]:>5}  {line.verdict}")
        out.append(f"{'':<22} {line.detail}")
    for which in WHICH:
        told = against(c, which)
        out += ["", f"{words['why']} {words['which'][which]}: {'' if told else words['nothing']}"]
        out += [f"  {t}" for t in told]
    return "\n".join(visible(line) for line in out)


def picked_text(p: PickedTakes, language: str) -> str:
    """An order for a terminal."""
    words, tables = (load_prompts(n, language) for n in ("compare", "words"))
    out = [f"{words['title']['pick']} ({tables['aspects'][p.aspect]})"]
    for place in p.places:
        score = "–" if place.score is None else f"{place.score:.2f}"
        beats = "" if place.beats_next is None else f"  {words['beats']}: {100 * place.beats_next:.0f} %"
        out.append(f"{place.rank}  {score:>5}  {place.path}{beats}")
    out += [f"{words['failed']}: {name}: {why}" for name, why in p.failed.items()]
    return "\n".join(visible(line) for line in out)


def render_takes(
    found: ComparedClips | PickedTakes, thumbnails: Mapping[str, Sequence[Thumbnail]], *, limits: str = ""
) -> str:
    """One page with the clips side by side. thumbnails: frames of a clip by its path."""
    pairs = [found] if isinstance(found, ComparedClips) else found.against_best
    best = pairs[0].first if pairs else None
    ratings = [r for r in (best, *(c.second for c in pairs)) if r is not None]
    language = ratings[0].language if ratings else "en"
    words, tables = (load_prompts(n, language) for n in ("compare", "words"))

    def numbers(n: int) -> tuple[int, int] | None:
        return (1, n) if isinstance(found, PickedTakes) else None

    return render_page(
        files("mllm_avqa.report").joinpath("takes.html.j2"),
        lang=language,
        words=words,
        tables=tables,
        title=words["title"]["compare" if isinstance(found, ComparedClips) else "pick"],
        picked=found if isinstance(found, PickedTakes) else None,
        ratings=ratings,
        scores=digest.score_lines,
        media=lambda r: [v for _, v in digest.media_facts(r, language)[1:]],
        frames=lambda r: [(t.time, data_uri(t.image)) for t in thumbnails.get(r.path, ())][:4],
        pairs=[
            {
                "number": n,
                "alignment": alignment(c),
                "lines": list(verdict_lines(c, numbers(n))),
                "why": [(called(words, numbers(n))[w], against(c, w)) for w in WHICH],
                "windows": [(clock(w.first[0]), clock(w.second[0]), w.differences) for w in c.windows],
            }
            for n, c in enumerate(pairs, 2)
        ],
        signed=signed,
        limits=" ".join(translated(limits, language).split()),
    )
