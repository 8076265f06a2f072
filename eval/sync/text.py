"""Sync results as Markdown."""

from __future__ import annotations

from typing import Any

from eval.sync.read import PREDICTORS
from eval.sync.rows import Row
from eval.sync.truth import CLASSES
from eval.writing import table

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
