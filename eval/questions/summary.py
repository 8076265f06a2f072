"""Log rows -> numbers -> a table, open answers before a judge included; nothing shrinks n silently.

Prompts for a judge go out as a file and replies come back as one, or an endpoint is asked (`eval/judging.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from eval import machine
from eval.judging import FREE, Panel, Prompt, ask, counts, identity, prompt, read_score
from eval.questions.run import Answers
from eval.questions.task import LEFT_OUT, READOUTS
from eval.stats import Number, agreement, wilson
from eval.store import Row
from eval.writing import signed, table, write_text
from mllm_avqa.schema.errors import ConfigError


def prompts(rows: Sequence[Row], rubrics: Sequence[str], language: str) -> Iterator[Prompt]:
    """Of every answer and rubric that can be judged."""
    for r, rubric in _wanted(rows, rubrics):
        yield prompt(
            r["id"], "bench", rubric, language,
            text=r["text"],
            reference=None if rubric in FREE else r["reference"],
            question=r["question"] if rubric == "answer" else None,
        )  # fmt: skip


def write_prompts(path: Path, rows: Sequence[Row], rubrics: Sequence[str], language: str) -> int:
    """Write judge prompts as JSONL (whole or not at all); returns their number."""
    made = ({"id": p.id, "system": p.system, "prompt": p.user} for p in prompts(rows, rubrics, language))
    lines = [json.dumps(p, ensure_ascii=False) + "\n" for p in made]
    write_text(path, "".join(lines))
    return len(lines)


def judge_answers(
    rows: Sequence[Row], rubrics: Sequence[str], language: str, panel: Panel, path: Path
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Ask the judge, with its log at `path`; returns replies by prompt id, and who judged with what success."""
    found = ask(list(prompts(rows, rubrics, language)), panel, path)
    replies: dict[str, list[str]] = {}
    for r in found:
        if "reply" in r:
            replies.setdefault(r["id"], []).append(r["reply"])
    return replies, {"judged_by": identity(found, panel, language) | counts(found)}


def read_replies(path: Path) -> dict[str, list[str]]:
    """Replies by prompt id; several lines with one id are several rounds. Raises ConfigError with file and line."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist (--replies)")
    out: dict[str, list[str]] = {}
    for n, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
                out.setdefault(str(row["id"]), []).append(str(row["reply"]))
            except (ValueError, KeyError, TypeError) as e:
                raise ConfigError(f'{path}:{n}: not {{"id": ..., "reply": ...}} ({e!r}) (--replies)') from e
    return out


def judged(rows: Sequence[Row], rubrics: Sequence[str], replies: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    """Mean score of 0-2 per rubric over judged answers; an empty answer has 0; unreadable replies are counted."""
    out: dict[str, Any] = {r: {"score": None, "n": 0, "unread": 0} for r in rubrics}
    if replies is None:
        return {"judge": out}
    points: dict[str, list[float]] = {r: [] for r in rubrics}
    for row, rubric in _wanted(rows, rubrics):
        given = [read_score(x).score for x in replies.get(f"{row['id']}/{rubric}", ())]
        read = [x for x in given if x is not None]
        out[rubric]["unread"] += len(given) - len(read)
        if read:
            points[rubric].append(fmean(read))
    for _, rubric in _wanted(rows, rubrics, "unanswered"):
        points[rubric].append(0.0)
    for rubric, found in points.items():
        out[rubric] |= {"score": round(fmean(found), 4) if found else None, "n": len(found)}
    return {"judge": out}


def _wanted(rows: Sequence[Row], rubrics: Sequence[str], status: str = "answered") -> Iterator[tuple[Row, str]]:
    for r in rows:
        if r["status"] == status:
            yield from ((r, x) for x in rubrics if x in FREE or r.get("reference"))


def summarise(
    answers: Answers, replies: Mapping[str, Sequence[str]] | None = None, threads: int | None = None
) -> dict[str, Any]:
    """Everything the table tells, as JSON."""
    task, rows = answers.task, answers.rows
    out: dict[str, Any] = machine.describe(threads) | {
        "task": task.name,
        "version": task.version,
        "source": task.source,
        "licence": task.licence,
        "checkpoint": answers.checkpoint,
        "fingerprint": answers.fingerprint,
        **answers.how,
        "items": len(rows),
        "left_out": {s: sum(r["status"] == s for r in rows) for s in LEFT_OUT},
        "notes": task.notes,
    }
    choices = [r for r in rows if r.get("options")]
    if choices:
        out["accuracy"] = {"all": _accuracy(choices)} | {
            f"{name}: {value}": _accuracy([r for r in choices if r["groups"].get(name) == value])
            for name in task.groups
            for value in sorted({r["groups"][name] for r in choices})
        }
        out["pairs_by_scores"] = sum("scores" in r for r in choices)
        out["places"] = _places(choices)
    if task.ask == "rate":
        out["agreement"] = _agreement(rows, task.higher_is_better)
    texts = [r for r in rows if not r.get("options") and task.ask != "rate"]
    if texts:
        out["open"] = _open(texts) | judged(texts, task.judge, replies)
    return out


def _accuracy(rows: Sequence[Row]) -> dict[str, Any]:
    """Asked items with a key; an unanswered one counts as wrong, and is counted."""
    asked = [r for r in rows if r["status"] not in LEFT_OUT]
    keyed = [r for r in asked if r["credit"] is not None]
    n, hits = len(keyed), sum(r["credit"] for r in keyed)
    out: dict[str, Any] = {"accuracy": None, "low": None, "high": None, "chance": None}
    if n:
        low, high = wilson(hits, n)
        chance = sum(1 / len(r["options"]) for r in keyed) / n
        out = {"accuracy": hits / n, "low": low, "high": high, "chance": chance}
        out = {k: round(v, 4) for k, v in out.items()}
    return out | {
        "n": n,
        "unanswered": round(sum(r["silent"] for r in asked), 2),
        "no_key": len(asked) - n,
        "left_out": len(rows) - len(asked),
    }


def _places(rows: Sequence[Row]) -> dict[str, list[int]]:
    """How often each option was chosen and right, as given: a habit for a letter shows here."""
    chosen = Counter(c for r in rows for c in r.get("chosen", ())[:1] if c is not None)
    right = Counter(r["right"] for r in rows if r["status"] not in LEFT_OUT and r["right"] is not None)
    size = max(len(r["options"]) for r in rows)
    return {"chosen": [chosen[k] for k in range(size)], "right": [right[k] for k in range(size)]}


def _agreement(rows: Sequence[Row], higher_is_better: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in ("predicted", "levels"):
        found = [r for r in rows if r["status"] == "answered" and r[name] is not None]
        labels = [r["score"] * (1 if higher_is_better else -1) for r in found]
        numbers = agreement([r[name] for r in found], labels, groups=[r["media"][0] for r in found], total=len(rows))
        out[name] = numbers.model_dump()
    return out


def _open(rows: Sequence[Row]) -> dict[str, Any]:
    asked = [r for r in rows if r["status"] not in LEFT_OUT]
    words = sorted(len(r["text"].split()) for r in asked)
    return {
        "n": len(asked),
        "unanswered": sum(r["status"] == "unanswered" for r in asked),
        "left_out": len(rows) - len(asked),
        "with_reference": sum(bool(r.get("reference")) for r in asked),
        "median_words": words[len(words) // 2] if words else None,
    }


# ---- table ----------------------------------------------------------------------------------------------------------


def render(result: Mapping[str, Any]) -> str:
    """The table as Markdown, with what was left out and the task's notes."""
    parts = [
        f"# {result['task']} (version {result['version']}), {result['checkpoint']}",
        f"{result['source']}. Read-out: {READOUTS[result['readout']]}; {result['shuffles']} order(s) of the options.",
    ]
    if "accuracy" in result:
        head = ("items", "accuracy", "95 %", "chance", "n", "unanswered", "no key", "left out")
        parts.append(table(head, [_cells(k, v) for k, v in result["accuracy"].items()]))
    if "agreement" in result:
        parts.append(_scores(result["agreement"]))
    if "open" in result:
        parts.append(_texts(result["open"]))
    left = ", ".join(f"{n} {LEFT_OUT[s]}" for s, n in result["left_out"].items())
    lines = [f"{result['items']} items; left out: {left}."]
    if result.get("pairs_by_scores"):
        lines.append(f"{result['pairs_by_scores']} comparisons were answered by rating both clips and comparing.")
    parts.append("\n".join(f"- {x}" for x in [*lines, *result["notes"]]))
    return "\n\n".join(parts)


def _cells(name: str, v: Mapping[str, Any]) -> list[str]:
    if v["accuracy"] is None:
        numbers = ["–", "–", "–"]
    else:
        numbers = [f"{v['accuracy']:.3f}", f"{v['low']:.3f}-{v['high']:.3f}", f"{v['chance']:.3f}"]
    return [name, *numbers, str(v["n"]), f"{v['unanswered']:g}", str(v["no_key"]), str(v["left_out"])]


def _scores(found: Mapping[str, Any]) -> str:
    names = {"predicted": "good/poor, as published", "levels": "five levels, the checkpoint's own"}
    rows, reasons = [], []
    for key, name in names.items():
        v = found[key]
        numbers = [Number(**v[k]) for k in ("srcc", "plcc", "plcc_mapped", "rmse")]
        rows.append([name, *(signed(x, interval=k == 0) for k, x in enumerate(numbers)), f"{v['n']} of {v['m']}"])
        reasons += [f"{name}: {numbers[0].note}."] if numbers[0].note else []
    return "\n\n".join([table(("read-out", "SRCC", "PLCC", "PLCC mapped", "RMSE", "n"), rows), *reasons])


def _texts(v: Mapping[str, Any]) -> str:
    rows = [["answers", str(v["n"])], ["empty", str(v["unanswered"])], ["left out", str(v["left_out"])]]
    rows += [["with a reference", str(v["with_reference"])], ["median words", str(v["median_words"])]]
    for rubric, x in v["judge"].items():
        score = "not judged (--replies)" if x["score"] is None else f"{x['score']:.3f} of 2"
        rows.append([rubric, score + (f", {x['unread']} replies not readable" if x["unread"] else "")])
    return table(("open answers", "value"), rows)
