"""Detection over offset as one HTML file: shares with their intervals, fitted curves, the lines of ITU-R BT.1359-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from eval.answers import wilson
from eval.report.svg import Plot
from eval.sync.read import PREDICTORS, Reading
from eval.sync.rows import SIDES, curve
from eval.sync.truth import ACCEPTABLE, DETECTABLE
from mllm_avqa.errors import OutputError

HERE = Path(__file__).parent
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
        x = np.array([SIDES[side] * size for size, _, _ in points], float)
        share = np.array([k / n for _, k, n in points])
        for at, (_, k, n) in zip(x, points, strict=True):
            low, high = (min(1.0, max(0.0, v)) for v in wilson(k, n))
            plot.line(np.array([at, at]), np.array([low, high]), "bar")
        tips = [f"{size:g} ms {side}: {k} of {n}" for size, k, n in points]
        plot.points(x, share, tips, [False] * len(points))
        along = np.linspace(0, reach, 200)
        heights = fitted.at(along)
        if heights is not None:
            plot.line(SIDES[side] * along, heights)
    return plot.svg(f"{predictor}: share called out of step over the offset")


def write_html(path: Path, sets: Mapping[str, Sequence[Reading]], title: str) -> None:
    """Write the page atomically. sets: readings by where the clips come from. Raises OutputError."""
    env = Environment(loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    drawn = [
        (name, [(p, d) for p in PREDICTORS if (d := drawing(readings, p)) is not None])
        for name, readings in sets.items()
        if readings
    ]
    text = env.from_string((HERE / "sync.html.j2").read_text(encoding="utf-8")).render(title=title, sets=drawn)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as e:
        raise OutputError(f"--html {path}: can not be written: {e.strerror}") from e
    finally:
        part.unlink(missing_ok=True)
