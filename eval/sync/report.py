"""Sync results as Markdown, and detection over offset as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from eval.stats import wilson
from eval.svg import Plot
from eval.sync.read import PREDICTORS, Reading
from eval.sync.rows import SIDES, Row, curve
from eval.sync.truth import ACCEPTABLE, CLASSES, DETECTABLE
from eval.writing import page, table, write_text

WORDS = {
    "score": "sync score below the criterion",
    "answer": "answer to the sync question, by log-probability",
    "answer_short": "answer to it as short recipes word it",
    "fact": "measured fact av_content_offset (unmeasured: in step)",
}


def markdown(result: dict[str, Any]) -> str:
    """Tables by set of clips and predictor."""
    parts = [
        f"# Sync: {result['checkpoint']}",
        f"Split `{result['split']}` of `{result['records']}`, prompts in `{result['language']}`, criterion "
        f"{result['criterion']:g}; {result['untimed']} clips without a right time, {len(result['failed'])} failed. "
        "Intervals: Wilson's for shares, clips taken as independent; bootstrap over contents for thresholds and AUC.",
        "\n".join(f"- {p}: {WORDS[p]}" for p in PREDICTORS),
    ]
    for name, clips in result["clips"].items():
        rows = [r for r in result["rows"] if r["set"] == name]
        if rows:
            parts += [f"## {name}: {clips} clips of {result['contents'][name]} contents", *_tables(rows)]
    if result["failed"]:
        parts += ["## Failures", "\n".join(f"- {clip}: {why}" for clip, why in result["failed"].items())]
    return "\n\n".join(parts)


def _tables(rows: list[Row]) -> list[str]:
    tables = ("detection", "classes", "curve", "false_alarms", "mismatch")
    by = {name: [r for r in rows if r["table"] == name] for name in tables}
    kept = [p for p in PREDICTORS if any(r["predictor"] == p for r in rows)]
    first = {r["class"]: r for r in by["classes"]}
    cell = {(r["predictor"], r["class"]): _share(r, "accuracy") for r in by["classes"]}
    parts = [
        "### Out of step against in step",
        table(
            ["doubted by", "AUC", "n"],
            [[r["predictor"], _auc(r), f"{r['n']} against {r['in_step']}"] for r in by["detection"]],
        ),
        "### Accuracy per offset class",
        table(
            ["class", "BT.1359", *kept, "n"],
            [[c, r["zone"] or "–", *(cell.get((p, c), "–") for p in kept), str(r["n"])] for c, r in first.items()],
        ),
    ]
    named = [(r["predictor"], r["class"], _share(r, "named")) for r in by["classes"] if "named" in r]
    if named:
        columns = list(dict.fromkeys(p for p, *_ in named))
        table_of = {(p, c): v for p, c, v in named}
        lines = [[c, *(table_of.get((p, c), "–") for p in columns)] for c in first]
        parts += ["### Right name (in step, early, late, drift, unrelated)", table(["class", *columns], lines)]
    for p in kept:
        told = [r for r in rows if r["table"] == "confusion" and r["predictor"] == p]
        seen = list(dict.fromkeys([*CLASSES, *(k for r in told for k in r["said"])]))
        said = [k for k in seen if any(k in r["said"] for r in told)]
        lines = [[r["true"], *(str(r["said"].get(k, 0)) for k in said)] for r in told]
        parts += [f"### Confusion, {p} (rows: true)", table(["true", *said], lines)]
    lines = [
        [
            f"{r['predictor']}, {r['side']}",
            r["note"] if r["threshold"] is None else f"{r['threshold']:.0f}" + _range(r["low"], r["high"], 0),
            f"{r['detectable']:g}", f"{r['acceptable']:g}", str(r["n"]),
        ]
        for r in by["curve"]
    ]  # fmt: skip
    parts += ["### 50 % threshold (ms)", table(["curve", "threshold", "detectable", "acceptable", "n"], lines)]
    lines = [[f"{r['predictor']}, {r['clips']}", _share(r, "rate"), str(r["n"])] for r in by["false_alarms"]]
    parts += ["### False alarms", table(["clips in step", "called out of step", "n"], lines)]
    if any(r["n"] for r in by["mismatch"]):
        lines = [
            [
                f"{r['predictor']}, {r['difficulty']}",
                _auc(r),
                _share(r, "detected"), str(r["n"]), r.get("note", ""),
            ]
            for r in by["mismatch"]
        ]  # fmt: skip
        head = ["sound that does not belong", "AUC against in step", "called out of step", "n", "note"]
        parts += ["### Mismatch", table(head, lines)]
    return parts


def _auc(r: Row) -> str:
    return "–" if r["auc"] is None else f"{r['auc']:.3f}" + _range(r["auc_low"], r["auc_high"], 3)


def _share(r: Row, name: str) -> str:
    if r.get(name) is None:
        return "–"
    return f"{100 * r[name]:.0f} %" + _range(100 * r[f"{name}_low"], 100 * r[f"{name}_high"], 0)


def _range(low: float | None, high: float | None, digits: int) -> str:
    return "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"


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
    drawn = [
        (
            f"{TITLES.get(name, name)}: {len(readings)}",
            [(WORDS[p], d, thresholds(readings, p)) for p in PREDICTORS if (d := drawing(readings, p)) is not None],
        )
        for name, readings in sets.items()
        if readings
    ]
    text = page(HERE / "sync.html.j2", title=title, sets=drawn)
    write_text(path, text, "--html")
