"""An item and its encoded clips -> a log row. Every way to have no answer is a status with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.options import best
from eval.questions.parser import read_answer
from eval.questions.readout import option_values, word_logits
from eval.questions.task import Item, Readout, Task
from eval.questions.wording import Asked, ask, sides
from eval.store import Row
from mllm_avqa.corridor import EncodedFile
from mllm_avqa.model.prompting import Branch, load_prompts
from mllm_avqa.schema.rating import ScoreDistribution

OPTION_TOKENS = 32
OPEN_TOKENS = 160


def unsupported(item: Item) -> str | None:
    """Why a question cannot be asked of any backbone family there is, or None."""
    if len(item.media) == 1:
        return None
    if item.compare is None:
        return "a question on two clips that is not which one has the better quality"
    return None if sides(item) else "a comparison whose options do not name the first and the second clip"


def open_answer(item: Item, task: Task, clip: EncodedFile) -> Row:
    text = load_prompts("bench", item.language)["describe"] if task.ask == "describe" else item.question
    said = clip.worst.generate(Branch(item.aspect, text, quoted=True), OPEN_TOKENS)
    return {"asked": text, "text": said} | _status("answered" if said else "unanswered", "" if said else "empty")


def score_answer(item: Item, task: Task, clip: EncodedFile) -> Row:
    """Probability of "good" against "poor", their logits divided by the task's temperature (Q-Bench A3)."""
    words = load_prompts("bench", item.language)["rate"]
    branch = Branch(item.aspect, words["question"], words["stem"])
    logits = np.mean([word_logits(w, branch, words["words"]) for w in clip.windows], axis=0)
    level = clip.scores.get(item.aspect)
    return {
        "logits": dict(zip(words["words"], logits.tolist(), strict=True)),
        "predicted": good_share(logits, task.temperature),
        "levels": None if level is None else level.score,
    } | _status("answered")


def good_share(logits: Sequence[float] | np.ndarray, temperature: float) -> float:
    """exp(g/T) / (exp(g/T) + exp(p/T)) of the logits (good, poor), in double precision."""
    good, poor = (float(x) / temperature for x in logits)
    return float(1.0 / (1.0 + np.exp(poor - good)))


def choice_answers(items: Sequence[Item], task: Task, clip: EncodedFile, readout: Readout, shuffles: int) -> list[Row]:
    """Rows of all multiple-choice items of one clip."""
    asked = [ask(i, task, shuffles) for i in items]
    if readout == "generate":
        return [_generated(i, orders, clip) for i, orders in zip(items, asked, strict=True)]
    flat = [a for orders in asked for a in orders]
    per_window = [option_values(w, flat, rule=readout) for w in clip.windows]
    values = iter([np.mean([v[k] for v in per_window], axis=0) for k in range(len(flat))])
    return [_ranked(i, orders, [next(values) for _ in orders]) for i, orders in zip(items, asked, strict=True)]


def _ranked(item: Item, orders: Sequence[Asked], values: Sequence[np.ndarray]) -> Row:
    chosen: list[int | None] = [a.order[best(list(v))] for a, v in zip(orders, values, strict=True)]
    mean = np.zeros(len(item.options))
    for a, v in zip(orders, values, strict=True):
        mean[list(a.order)] += v / len(orders)
    return {"log_probs": [round(float(x), 5) for x in mean]} | _chosen(item, chosen)


def _generated(item: Item, orders: Sequence[Asked], clip: EncodedFile) -> Row:
    texts = [clip.worst.generate(Branch(a.aspect, a.text, quoted=True), OPTION_TOKENS) for a in orders]
    read = [read_answer(t, a.options, item.language, a.lettered) for t, a in zip(texts, orders, strict=True)]
    chosen = [None if r.place is None else a.order[r.place] for r, a in zip(read, orders, strict=True)]
    return {"texts": texts} | _chosen(item, chosen, "; ".join(dict.fromkeys(r.why for r in read if r.why)))


def pair_answer(item: Item, task: Task, scores: Sequence[Mapping[str, ScoreDistribution]]) -> Row:
    """Which clip is better (or worse), from the scores of the two alone."""
    named = sides(item)
    assert named is not None and item.compare is not None  # `unsupported` was asked before
    found = [s.get(item.aspect) for s in scores]
    row: Row = {"scores": [None if s is None else s.score for s in found]}
    if found[0] is None or found[1] is None:
        return row | _chosen(item, [None], f"{item.aspect} of a clip was not scored")
    gap = found[0].score - found[1].score
    if "same" in named and abs(gap) < task.tie:
        return row | _chosen(item, [named["same"]])
    if gap == 0:
        return row | _chosen(item, [named.get("same")], "" if "same" in named else "equal scores")
    first = (gap > 0) == (item.compare == "better")
    return row | _chosen(item, [named["first" if first else "second"]])


def _chosen(item: Item, chosen: Sequence[int | None], why: str = "") -> Row:
    """Credit is the share of orders with the right answer; an order without an answer is not right."""
    silent = sum(c is None for c in chosen)
    credit = None if item.right is None else sum(c == item.right for c in chosen) / len(chosen)
    row: Row = {"chosen": list(chosen), "silent": silent / len(chosen), "credit": credit}
    return row | _status("unanswered" if silent == len(chosen) else "answered", why)


def _status(status: str, why: str = "") -> dict[str, Any]:
    return {"status": status} | ({"why": why} if why else {})
