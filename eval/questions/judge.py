"""Open answers are judged by a language model of the user's choice: by an endpoint, or prompts go out as a file and
replies come back as one. How a judge is asked and read is in eval/judging.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.judging import FREE, Panel, Prompt, ask, counts, identity, prompt, read_score
from eval.store import Row
from eval.writing import write_text
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
