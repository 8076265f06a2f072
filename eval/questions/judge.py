"""Open answers are judged by a language model of the user's choice: prompts go out as a file, replies come back as one.

Q-Bench A2 (arXiv 2309.14181) has 0, 1 or 2 points for completeness, preciseness and relevance, a mean over several
replies; Q-Bench-Video (arXiv 2409.20063) the same points for the whole answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.questions.log import Row
from mllm_avqa.errors import ConfigError
from mllm_avqa.prompting import load_prompts

FREE = ("relevance",)  # rubrics that need no reference
SCORE = re.compile(r"\W*(?:score\s*[:：]\s*)?([012])\W*", re.IGNORECASE)


def prompts(rows: Sequence[Row], rubrics: Sequence[str], language: str) -> Iterator[dict[str, str]]:
    """{"id", "prompt"} of every answer and rubric that can be judged."""
    words = load_prompts("bench", language)["judge"]
    for r, rubric in _wanted(rows, rubrics):
        text = words["head"].format(rubric=words["rubrics"][rubric])
        if rubric == "answer":
            text += words["question"].replace("{question}", r["question"])
        if rubric not in FREE:
            text += words["reference"].replace("{reference}", r["reference"])
        yield {"id": f"{r['id']}/{rubric}", "prompt": text + words["text"].replace("{text}", r["text"])}


def write_prompts(path: Path, rows: Sequence[Row], rubrics: Sequence[str], language: str) -> int:
    """Write judge prompts as JSONL (whole or not at all); returns their number."""
    lines = [json.dumps(p, ensure_ascii=False) + "\n" for p in prompts(rows, rubrics, language)]
    part = path.with_name(path.name + ".part")
    part.write_text("".join(lines), encoding="utf-8")
    part.replace(path)
    return len(lines)


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


def read_score(reply: str) -> int | None:
    """0, 1 or 2 of "Score: 2" or "2"; None for anything else."""
    found = SCORE.fullmatch(reply.strip())
    return int(found[1]) if found else None


def judged(rows: Sequence[Row], rubrics: Sequence[str], replies: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    """Mean score of 0-2 per rubric over judged answers; an empty answer has 0; unreadable replies are counted."""
    out: dict[str, Any] = {r: {"score": None, "n": 0, "unread": 0} for r in rubrics}
    if replies is None:
        return {"judge": out}
    points: dict[str, list[float]] = {r: [] for r in rubrics}
    for row, rubric in _wanted(rows, rubrics):
        given = [read_score(x) for x in replies.get(f"{row['id']}/{rubric}", ())]
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
