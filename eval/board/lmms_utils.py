"""Functions of the exported lmms-eval task: copied beside it as utils.py, so only the standard library is used."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EDGES = " \t\n\"'`*.。,，;；:：!！?？()"
LEAD = re.compile(r"^(?:the (?:correct |right )?answer is|answer|option|答案是|答案|选项)[\s:：]*", re.IGNORECASE)


def doc_to_visual(doc: dict[str, Any]) -> list[str]:
    """Paths of the clip, or of both clips of a comparison. Raises FileNotFoundError naming the first that is absent."""
    paths = [HERE / m for m in doc["media"]]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"item {doc['id']}: no media file {path}")
    return [str(p) for p in paths]


def doc_to_text(doc: dict[str, Any], lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question with its options; a model's own words before and after it come from lmms_eval_specific_kwargs."""
    more = lmms_eval_specific_kwargs or {}
    return f"{more.get('pre_prompt', '')}{doc['question']}{more.get('post_prompt', '')}"


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, dict[str, Any]]:
    """Nothing is guessed: an answer that does not clearly name one option counts as wrong, and is counted."""
    letter = read_letter(results[0], doc["options"])
    row = {"id": doc["id"], "type": doc["type"], "modality": doc["modality"], "right": letter == doc["answer"]}
    row |= {"unanswered": letter is None, "chosen": letter or ""}
    return {"accuracy": row, "unanswered": row}


def read_letter(text: str, options: list[str]) -> str | None:
    """The letter that an answer names, alone, with its option's text, or by that text; None if it is not clear."""
    said = _plain(LEAD.sub("", _plain(text)))
    names = [_plain(o) for o in options]
    if said in names:
        return "ABCDEFGHIJ"[names.index(said)]
    found = re.fullmatch(r"([a-j])(?:[\s.):、]+(.*))?", said, re.DOTALL)
    if found is None or ord(found[1]) - ord("a") >= len(names):
        return None
    rest = _plain(found[2] or "")
    return found[1].upper() if rest in ("", names[ord(found[1]) - ord("a")]) else None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).strip(EDGES).casefold().split())


def accuracy(results: list[dict[str, Any]]) -> float:
    """Share of right answers, 0-1."""
    return _mean([r["right"] for r in results])


def unanswered(results: list[dict[str, Any]]) -> float:
    """Share of answers that name no option, 0-1."""
    return _mean([r["unanswered"] for r in results])


def _mean(values: list[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
