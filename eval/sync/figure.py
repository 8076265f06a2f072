"""Detection over offset as one HTML file: shares with their intervals, fitted curves, the lines of ITU-R BT.1359-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from eval.answers import wilson
from eval.svg import Plot
from eval.sync.read import PREDICTORS, Reading
from eval.sync.rows import SIDES, curve
from eval.sync.text import WORDS
from eval.sync.truth import ACCEPTABLE, DETECTABLE
from eval.writing import write_text

HERE = Path(__file__).parent
TITLES = {"records": "Clips as they are", "grid": "Clips in step with their sound moved here"}
WIDEST = 100.0  # ms: the axis reaches at least this far


def drawing(readings: Sequence[Reading], predictor: str) -> Markup | None:
    """One predictor: P(out of step) over ms that the sound is late; None without clips of known offset."""
    found = {side: curve(readings, predictor, side) for side in SIDES}
    sizes = [x for _, points in found.values() for x, _, _ in points]
    if not any(sizes):
        return None
    reach = 1.05 * max(WIDEST, *sizes, *map(abs, (*DETECTABLE, *ACCEPTABLE)))
    plot = Plot.of((-reach, reach), (0.0, 1.0), "sound late (ms); early below 0", "called out of step")
    for kind, ends in (("detectable", DETECTABLE), ("acceptable", ACCEPTABLE)):
        for end in ends:
            plot.line(np.array([end, end]), np.array([0.0, 1.0]), kind)
    for side, (fitted, points) in found.items():
        along = np.linspace(0, reach, 200)
        heights = fitted.at(along)
        if heights is not None:
            plot.line(SIDES[side] * along, heights)
        x = np.array([SIDES[side] * size for size, _, _ in points], float)
        share = np.array([k / n for _, k, n in points])
        for at, (_, k, n) in zip(x, points, strict=True):
            low, high = (min(1.0, max(0.0, v)) for v in wilson(k, n))
            plot.line(np.array([at, at]), np.array([low, high]), "bar")
        tips = [f"{size:g} ms {side}: {k} of {n}" for size, k, n in points]
        plot.points(x, share, tips, [False] * len(points))
    return plot.svg(f"{predictor}: share called out of step over the offset")


def thresholds(readings: Sequence[Reading], predictor: str) -> str:
    """The 50 % point of either direction, or why there is none."""
    parts = []
    for side in SIDES:
        found, _ = curve(readings, predictor, side)
        span = "" if found.low is None or found.high is None else f" [{found.low:.0f}, {found.high:.0f}]"
        told = found.note if found.threshold is None else f"{found.threshold:.0f} ms{span}"
        parts.append(f"{side}: {told}")
    return "; ".join(parts)


def write_html(path: Path, sets: Mapping[str, Sequence[Reading]], title: str) -> None:
    """Write the page atomically. sets: readings by where the clips come from. Raises OutputError."""
    env = Environment(loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    drawn = [
        (
            f"{TITLES.get(name, name)}: {len(readings)}",
            [(WORDS[p], d, thresholds(readings, p)) for p in PREDICTORS if (d := drawing(readings, p)) is not None],
        )
        for name, readings in sets.items()
        if readings
    ]
    text = env.from_string((HERE / "sync.html.j2").read_text(encoding="utf-8")).render(title=title, sets=drawn)
    write_text(path, text, "--html")
