"""A rating as one HTML file that asks nothing of the network: no fonts, no images but data URIs.

Where the clip lies beside the page it is played there, and a few lines of script, the only ones, seek to a span.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mllm_avqa.report import digest, labels
from mllm_avqa.report.coverage import coverage_lines
from mllm_avqa.report.page import render_page, write_page
from mllm_avqa.report.timeline import lanes, linked, loudness_curve, source_beside
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.rating import ASPECTS, Rating
from mllm_avqa.schema.words import load_prompts, translated

_WIDTH, _HEIGHT = 1000.0, 160.0  # drawing units of the timeline
_COLOURS = {
    "windows": "accent", "black": "video", "freeze": "video", "flicker": "video", "scene_cuts": "soft",
    "silence": "audio", "dropouts": "audio", "clipped": "audio", "stream_gaps": "sync", "timestamp_gaps": "sync",
}  # fmt: skip
_SEEK = """
const player = document.querySelector("video, audio"), now = document.getElementById("now");
document.addEventListener("click", e => {
  const span = e.target.closest("[data-t]");
  if (!span) return;
  e.preventDefault();
  player.currentTime = +span.dataset.t;
  player.play();
  player.scrollIntoView({block: "nearest"});
});
if (now) player.addEventListener("timeupdate", () => {
  const x = Math.min(1000, 1000 * player.currentTime / now.dataset.seconds);
  now.setAttribute("x1", x);
  now.setAttribute("x2", x);
});
"""  # of the page's policy by its hash
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True)
class Thumbnail:
    """A frame the model saw: its time in seconds and the bytes of a PNG or JPEG file."""

    time: float
    image: bytes


@dataclass(frozen=True)
class Step:
    """One window on the timeline, in drawing units from the top left."""

    x: float
    width: float
    y: float
    score: float
    tip: str


def write_html(
    rating: Rating,
    path: str | Path,
    *,
    limits: str = "",
    thumbnails: Sequence[Thumbnail] = (),
    clip: Path | None = None,
) -> None:
    """Write `render_html` to a file, whole or not at all. clip: the rated file, played where it lies beside the page.

    Raises OutputError when it can not be written.
    """
    source = source_beside(Path(path), clip) if clip is not None else None
    write_page(path, render_html(rating, limits=limits, thumbnails=thumbnails, source=source), "--html")


def render_html(
    rating: Rating, *, limits: str = "", thumbnails: Sequence[Thumbnail] = (), source: str | None = None
) -> str:
    """The report of one clip in the rating's language. Everything a stranger wrote is escaped and kept visible.

    limits: what the checkpoint's card says it can not do; source: address of the clip from where the page lies.
    Raises OutputError for a thumbnail that is neither PNG nor JPEG.
    """
    lang = rating.language if rating.language in LANGUAGES else "en"
    words = load_prompts("words", lang)
    seconds = digest.clip_seconds(rating)
    playable = source is not None and (rating.media.audio is not None or seconds > 0)
    source = source if playable else None
    script = Markup(_SEEK) if source else ""
    return render_page(
        files("mllm_avqa.report").joinpath("rating.html.j2"),
        rating=rating,
        lang=lang,
        words=words["report"],
        tables=words,
        keys=words["keys"],
        name=rating.path.replace("\\", "/").rsplit("/", 1)[-1],
        scores=digest.score_lines(rating),
        claims=digest.claims(rating),
        unchecked=digest.unchecked(rating),
        findings=digest.finding_lines(rating, lang),
        helps=digest.remedy_lines(rating, lang),
        faults=digest.faults(rating),
        harmless=digest.harmless(rating),
        unmeasured=digest.unmeasured(rating),
        value=lambda m: digest.value(m, lang),
        called=lambda name: digest.fact_label(name, lang),
        describe=lambda name: digest.explained(name, lang),
        seconds=seconds,
        coverage=coverage_lines(rating, lang),
        linked=lambda found: linked(found, rating, lang, source),
        timeline=_timeline(rating, lang, seconds, source),
        script=script,
        allowed=_allowed(_SEEK) if source else "",
        bar=lambda start, end: _bar(start, end, seconds),
        attribution=rating.attribution,
        shares=_share_rows(rating, words),
        share_notes=digest.share_notes(rating.attribution, lang) if rating.attribution else [],
        signed=labels.signed,
        say=lambda text: translated(text, lang),
        media=digest.media_facts(rating, lang),
        inputs=digest.input_facts(rating, lang),
        limits=" ".join(translated(limits, lang).split()),
        thumbnails=[(t.time, data_uri(t.image)) for t in thumbnails],
    )


def _timeline(rating: Rating, lang: str, seconds: float, source: str | None) -> Markup:
    words = load_prompts("words", lang)
    page = render_page(
        files("mllm_avqa.report").joinpath("timeline.html.j2"),
        words=words["report"],
        tables=words,
        source=source,
        kind="audio" if rating.media.video is None else "video",
        seconds=seconds,
        tracks=_tracks(rating, words, seconds),
        lanes=lanes(rating, lang, seconds),
        colours=_COLOURS,
        curve=loudness_curve(rating, seconds, 56.0),
        loudness=digest.fact_label("momentary_loudness", lang),
    )
    return Markup(page)


def _allowed(script: str) -> str:
    """What the page's policy allows beside pictures: the clip, and this very script."""
    digest_ = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"; media-src 'self' file:; script-src 'sha256-{digest_}'"


def _bar(start: float, end: float, seconds: float) -> tuple[float, float]:
    """Left edge and width of a span in percent of the clip; never thinner than can be seen."""
    if seconds <= 0:
        return 0.0, 100.0
    left = min(max(start / seconds, 0.0), 1.0) * 100
    width = min(max(end / seconds, 0.0), 1.0) * 100 - left
    width = max(width, 0.8)
    return round(min(left, 100 - width), 2), round(width, 2)


@dataclass(frozen=True)
class ShareRow:
    """A player and, by aspect, its share with the bar's left edge and width in percent; the middle is 0."""

    label: str
    part: bool
    bars: dict[str, tuple[float, float, float]]


def _share_rows(rating: Rating, words: Mapping[str, Any]) -> list[ShareRow]:
    if rating.attribution is None:
        return []
    lines = digest.share_lines(rating.attribution)
    most = max((abs(v) for line in lines for v in line.shares.values()), default=0.0) or 1.0
    rows = []
    for line in lines:
        label = digest.player(line, words)
        bars = {}
        for aspect, v in line.shares.items():
            width = 50 * abs(v) / most
            bars[aspect] = (v, round(50 - width if v < 0 else 50.0, 1), round(width, 1))
        rows.append(ShareRow(label, line.part, bars))
    return rows


def _tracks(rating: Rating, words: Mapping[str, Any], seconds: float) -> list[tuple[str, list[Step]]]:
    """One line of steps per aspect that has scores over time; empty for a clip of one window."""
    if len(rating.windows) < 2 or seconds <= 0:
        return []
    tracks: list[tuple[str, list[Step]]] = []
    for aspect in ASPECTS:
        steps = []
        for w in rating.windows:
            dist = w.scores.get(aspect)
            if dist is not None:
                x, width = w.start / seconds * _WIDTH, max((w.end - w.start) / seconds * _WIDTH, 2.0)
                y = (5.0 - min(5.0, max(1.0, dist.score))) / 4.0 * _HEIGHT
                level = words["levels"][dist.level]
                tip = f"{labels.clock(w.start)}–{labels.clock(w.end)}: {dist.score:.2f} {level}"
                steps.append(Step(round(x, 1), round(width, 1), round(y, 1), dist.score, tip))
        if steps:
            tracks.append((aspect, steps))
    return tracks


def data_uri(image: bytes) -> str:
    for magic, mime in _MAGIC.items():
        if image.startswith(magic):
            return f"data:{mime};base64,{base64.b64encode(image).decode()}"
    raise OutputError("a thumbnail must be the bytes of a PNG or JPEG file")
