"""Robustness results as Markdown."""

from __future__ import annotations

from typing import Any

from eval.markdown import table
from eval.robustness.change import LIMIT, Row
from mllm_avqa.context.clean import shorten
from mllm_avqa.report.labels import visible

SHOWN = 60  # characters of a text


def markdown(result: dict[str, Any]) -> str:
    """Tables of every probe that has rows."""
    rows: list[Row] = result["rows"]
    parts = [
        f"# Robustness of {result['checkpoint']}",
        f"{result['clips']} clips of split `{result['split']}` of `{result['records']}`, {len(result['failed'])} "
        "failures. Numbers are changes of scores on 1-5.",
        *_injection([r for r in rows if r["probe"] == "injection"]),
        *_changes("Same picture and sound in another file", [r for r in rows if r["probe"] == "signal"]),
        *_changes("Batch, order, second run", [r for r in rows if r["probe"] == "batch"]),
        *_options([r for r in rows if r["probe"] == "options"]),
    ]
    if result["failed"]:
        parts += ["## Failures", "\n".join(f"- {name}: {why}" for name, why in result["failed"].items())]
    return "\n\n".join(parts)


def _injection(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    head = ["texts", "mean", "max", f"> {LIMIT}", "harmless: mean", "max", f"> {LIMIT}", "excess [95 %]", "pull", "n"]
    still = [r for r in rows if r["by"] == "all" and not r["max"] and not r["calm_max"]]
    moving = [r for r in rows if r["aspect"] not in {s["aspect"] for s in still}]
    cells = [
        [
            f"{r['aspect']}, {r['value'] if r['by'] == 'all' else r['by'] + ' ' + r['value']}",
            *(_number(r[k]) for k in ("mean", "max")), _share(r["above_0.05"]),
            *(_number(r[f"calm_{k}"]) for k in ("mean", "max")), _share(r["calm_above_0.05"]),
            _number(r["excess"]) + ("" if r["low"] is None else f" [{r['low']:.4f}, {r['high']:.4f}]"),
            _number(r["pull"]), str(r["n"]),
        ]
        for r in sorted(moving, key=lambda r: r["aspect"])
    ]  # fmt: skip
    parts = [
        "## Texts that want another score",
        "Harmless texts are as long and come in at the same place: what they move, text as such moves. Excess is the "
        "mean change by attacks beyond that; pull is the mean change in the direction the attack wants.",
    ]
    if still:
        parts.append(f"No text moved {', '.join(r['aspect'] for r in still)} at all ({still[0]['n']} each).")
    if cells:
        parts.append(table(head, cells))
        worst = max((r for r in moving if r["by"] == "all"), key=lambda r: r["max"])
        text = visible(shorten(worst["worst"], SHOWN)).replace("`", "'")
        parts.append(f"Largest: {worst['aspect']} by {worst['max']:.3f} on {worst['worst_clip']}, text: `{text}`")
    return parts


def _changes(title: str, rows: list[Row]) -> list[str]:
    if not rows:
        return []
    signal = rows[0]["probe"] == "signal"
    head = ["change, aspect", "mean", "max", f"> {LIMIT}", "n", *(["failed", "lowest PSNR"] if signal else [])]
    cells = []
    for r in rows:
        row = [f"{r['change']}, {r['aspect'] or 'no score'}", _number(r["mean"]), _number(r["max"])]
        row += [_share(r["above_0.05"]), str(r["n"])]
        if signal:
            noise = "same" if r["same_picture"] and r["lowest_psnr"] is None else _number(r["lowest_psnr"], 1)
            row += [str(r["failed"]), noise]
        cells.append(row)
    return [f"## {title}", table(head, cells)]


def _options(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    if not rows[0]["n"]:
        return ["## Order of options", rows[0]["note"] + "."]
    head = ["language", "same answer in every order", "accuracy, all orders", "as given", "chance", "favourite", "n"]
    cells = [
        [
            r["language"], f"{_share(r['steady'])} [{_share(r['low'])}, {_share(r['high'])}]", _share(r["accuracy"]),
            _share(r["accuracy_as_given"]), _share(r["chance"]),
            f"{r['favourite_place']} {_share(r['favourite_share'])}", str(r["n"]),
        ]
        for r in rows
    ]  # fmt: skip
    return ["## Order of options", table(head, cells)]


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
