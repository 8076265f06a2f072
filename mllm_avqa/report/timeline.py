"""A rating over time: rows of seconds for files, lanes for the page, and the player that seeks to their spans."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from mllm_avqa.report import digest
from mllm_avqa.report.coverage import MOST_TOLD, where
from mllm_avqa.report.labels import clock
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import ASPECTS, Finding, Rating
from mllm_avqa.schema.words import load_prompts

LANES = ("black", "freeze", "flicker", "silence", "dropouts", "clipped", "stream_gaps", "timestamp_gaps", "scene_cuts")
_WIDTH = 1000.0  # drawing units of the clip
_THIN = 2.0  # of a span that would not be seen
_POINTS = 1000  # of the curve of loudness, at most
_QUIETEST = -60.0  # LUFS at the bottom of it
Cells = dict[str, float | None]
SECONDS = (
    "second", "black", "freeze", "silence", "dropouts", "frames", "brightness", "motion", "scene_cuts",
    "momentary_loudness", "short_term_loudness", "clipped", *(f"{a}_score" for a in ASPECTS),
)  # fmt: skip


# ---- rows -----------------------------------------------------------------------------------------------------------


def timeline_rows(rating: Rating) -> list[Cells]:
    """A row for every second of the file: its facts, and the scores of the window that showed it."""
    facts = rating.whole.timeline.facts if rating.whole is not None else {}
    step = rating.whole.timeline.step if rating.whole is not None else 1.0
    n = max([1, *(len(v) for v in facts.values())]) if facts else max(1, round(digest.clip_seconds(rating) / step))
    rows: list[Cells] = []
    for k in range(n):
        row: Cells = {"second": round(k * step, 3), **{name: v[k] for name, v in facts.items()}}
        shown = next((w for w in rating.windows if w.start <= (k + 0.5) * step < w.end), None)
        for a in ASPECTS:
            score = shown.scores.get(a) if shown is not None else None
            row[f"{a}_score"] = score.score if score is not None else None
        rows.append(row)
    return rows


def check_timeline(path: Path) -> None:
    """Raises OutputError for a name that does not say CSV or Parquet."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise OutputError(f"--timeline {path}: a name that ends with .csv or .parquet is needed")


def write_timeline(rating: Rating, path: Path) -> int:
    """The rows as CSV or Parquet, by the name's ending; their number. Raises OutputError (--timeline)."""
    check_timeline(path)
    rows = timeline_rows(rating)
    names = list(rows[0]) if rows else ["second"]
    try:
        with whole_file(path) as part:
            if path.suffix.lower() == ".csv":
                text = io.StringIO()
                writer = csv.DictWriter(text, names, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                part.write_text(text.getvalue(), encoding="utf-8")
            else:
                import pyarrow as pa
                from pyarrow import parquet

                columns = {name: pa.array([r[name] for r in rows], pa.float64()) for name in names}
                parquet.write_table(pa.table(columns), str(part))
    except OSError as e:
        raise OutputError(f"--timeline {path}: can not be written: {e.strerror}") from e
    return len(rows)


# ---- the player -----------------------------------------------------------------------------------------------------


def source_beside(page: Path, clip: Path) -> str | None:
    """Address of the clip from the page, if it lies in the page's folder or below it, itself or a link to it."""
    for place in (os.path.abspath, os.path.realpath):
        relative = os.path.relpath(place(clip), os.path.dirname(place(page)))
        if not relative.startswith("..") and not os.path.isabs(relative):
            return "./" + quote(relative.replace(os.sep, "/"))  # "./": a colon in the name is no scheme
    return None


def seek(start: float, text: str, source: str | None) -> Markup:
    """A time that the player goes to; without a script the clip opens there."""
    if source is None:
        return escape(text)
    return Markup('<a href="{}#t={}" data-t="{}">{}</a>').format(source, f"{start:g}", f"{start:g}", text)


def linked(found: Measurement | Finding, rating: Rating, language: str, source: str | None) -> Markup:
    """When a fact or a finding holds, every span a link."""
    spans = found.spans or ([found.span] if isinstance(found, Finding) and found.span is not None else [])
    if not spans:
        return escape(where(found, rating, language))
    told = [seek(a, clock(a) if a == b else f"{clock(a)}–{clock(b)}", source) for a, b in spans[:MOST_TOLD]]
    more = f" … ({len(spans)})" if len(spans) > MOST_TOLD else ""
    return Markup(", ").join(told) + more


# ---- lanes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A span in drawing units from the left, and what it says."""

    x: float
    width: float
    start: float
    tip: str


@dataclass(frozen=True)
class Lane:
    """Spans of one kind. name: of a fact, or "windows"."""

    name: str
    label: str
    bars: list[Bar]


def lanes(rating: Rating, language: str, seconds: float) -> list[Lane]:
    """Which windows were looked at, and when each fact of the whole file holds; none of a short clip without faults."""
    words = load_prompts("words", language)
    if seconds <= 0 or rating.whole is None:
        return []
    place = _placed(seconds)
    known = {m.name: m for m in rating.whole.facts}
    found = [
        Lane(name, digest.fact_label(name, language), [place(a, b, "") for a, b in known[name].spans])
        for name in LANES
        if name in known and known[name].spans
    ]
    how: Mapping[str, Any] = words["coverage"]["chosen"]
    looked = [place(w.start, w.end, how[w.chosen]) for w in rating.windows]
    return [Lane("windows", words["coverage"]["looked_at"], looked), *found] if found or len(looked) > 1 else []


def _placed(seconds: float) -> Callable[[float, float, str], Bar]:
    def place(start: float, end: float, tip: str) -> Bar:
        x, width = start / seconds * _WIDTH, max((end - start) / seconds * _WIDTH, _THIN)
        told = clock(start) if start == end else f"{clock(start)}–{clock(end)}"
        return Bar(round(min(x, _WIDTH - width), 1), round(width, 1), start, f"{told} {tip}".strip())

    return place


def loudness_curve(rating: Rating, seconds: float, height: float) -> str:
    """Points of the highest momentary loudness over time, for a polyline; gaps of silence lie at the bottom."""
    if rating.whole is None or seconds <= 0:
        return ""
    told: Sequence[float | None] = rating.whole.timeline.facts.get("momentary_loudness", [])
    if not any(v is not None for v in told):
        return ""
    step, each = rating.whole.timeline.step, max(1, -(-len(told) // _POINTS))
    points = []
    for k in range(0, len(told), each):
        heard = [v for v in told[k : k + each] if v is not None]
        level = min(0.0, max(heard, default=_QUIETEST))
        x = min((k + each / 2) * step / seconds, 1.0) * _WIDTH
        points.append(f"{x:.1f},{height * min(1.0, level / _QUIETEST):.1f}")
    return " ".join(points)
