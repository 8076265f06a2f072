"""An item and its encoded clips -> a log row. What a model writes is read strictly: nothing is guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.questions.readout import best, option_values, word_logits
from eval.questions.task import AskedItem, Readout, Task, TaskItem, ask, sides
from eval.store import Json
from mllm_avqa.corridor import EncodedFile
from mllm_avqa.model.prompting import Branch, load_prompts
from mllm_avqa.schema.rating import ScoreDistribution

EDGES = " \t\n\"'`*.。,，;；:：!！?？"
LETTER = re.compile(r"\(?([a-z])(?:\)|[.:、](?![a-z0-9])|$)[.:、]?\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Named:
    """The place of the option that was named, or why there is none."""

    place: int | None
    why: str = ""


def read_answer(text: str, options: Sequence[str], language: str = "en", lettered: bool = True) -> Named:
    """Which of the options (bare texts, by place) a written answer names.

    Accepted, after an optional "the answer is": an option's text alone; a first clause that is an option ("Yes, it is
    blurred."); and where options were shown with letters, a letter alone or with words that name no other option.
    """
    said = _plain(text)
    if not said:
        return Named(None, "empty")
    said = _without_lead(said, language)
    names = [_plain(o) for o in options]
    if said in names:
        return Named(names.index(said))
    letter = LETTER.fullmatch(said) if lettered else None
    if letter is not None:
        place, rest = ord(letter[1]) - ord("a"), letter[2].strip(EDGES)
        if place >= len(names):
            return Named(None, "letter of no option")
        if rest and rest != names[place]:
            others = _mentioned(rest, names) - {place}
            if others or _letters(rest, len(names)) - {place}:
                return Named(None, "names more than one option")
        return Named(place)
    clause = re.split(r"[.,;:!?。，；：！？\n]", said, maxsplit=1)[0].strip(EDGES)
    if clause in names:
        place = names.index(clause)
        rest = said[len(clause) :]
        if _mentioned(rest, names) - {place} or _letters(rest, len(names)) - {place}:
            return Named(None, "names more than one option")
        return Named(place)
    return Named(None, "names more than one option" if len(_mentioned(said, names)) > 1 else "names no option")


def _plain(text: str) -> str:
    """Compatible characters made equal, lower case, single blanks, no punctuation at the ends (brackets stay)."""
    same = unicodedata.normalize("NFKC", text).strip(EDGES).casefold()
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", same))


def _without_lead(said: str, language: str) -> str:
    for lead in sorted(load_prompts("bench", language)["lead"], key=len, reverse=True):
        if said.startswith(lead) and not said[len(lead) : len(lead) + 1].isalnum():
            return said[len(lead) :].lstrip(EDGES)
        if said.startswith(lead) and not lead.isascii():  # no blanks between words
            return said[len(lead) :].lstrip(EDGES)
    return said


def _mentioned(said: str, names: Sequence[str]) -> set[int]:
    """Options that occur in a text as whole words; a longer one hides a shorter one inside it."""
    found: set[int] = set()
    for k in sorted(range(len(names)), key=lambda i: -len(names[i])):
        pattern = re.escape(names[k]) if not names[k].isascii() else rf"(?<!\w){re.escape(names[k])}(?!\w)"
        said, times = re.subn(pattern, " \0 ", said)
        if times:
            found.add(k)
    return found


def _letters(said: str, count: int) -> set[int]:
    """Options named by a letter with a mark behind it, as in "B." or "(b)"."""
    marked = re.findall(r"(?<!\w)\(?([a-z])(?:\)|[.:、](?=\s|$))", said)
    marked += re.findall(r"(?:^|\b(?:and|or)\s+)([a-z])$", said)
    return {ord(x) - ord("a") for x in marked if ord(x) - ord("a") < count}


OPTION_TOKENS = 32
OPEN_TOKENS = 160


def unsupported(item: TaskItem) -> str | None:
    """Why a question cannot be asked of any backbone family there is, or None."""
    if len(item.media) == 1:
        return None
    if item.compare is None:
        return "a question on two clips that is not which one has the better quality"
    return None if sides(item) else "a comparison whose options do not name the first and the second clip"


def open_answer(item: TaskItem, task: Task, clip: EncodedFile) -> Json:
    text = load_prompts("bench", item.language)["describe"] if task.ask == "describe" else item.question
    said = clip.worst.generate(Branch(item.aspect, text, quoted=True), OPEN_TOKENS)
    return {"asked": text, "text": said} | _status("answered" if said else "unanswered", "" if said else "empty")


def score_answer(item: TaskItem, task: Task, clip: EncodedFile) -> Json:
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


def choice_answers(
    items: Sequence[TaskItem], task: Task, clip: EncodedFile, readout: Readout, shuffles: int
) -> list[Json]:
    """Rows of all multiple-choice items of one clip."""
    asked = [ask(i, task, shuffles) for i in items]
    if readout == "generate":
        return [_generated(i, orders, clip) for i, orders in zip(items, asked, strict=True)]
    flat = [a for orders in asked for a in orders]
    per_window = [option_values(w, flat, rule=readout) for w in clip.windows]
    values = iter([np.mean([v[k] for v in per_window], axis=0) for k in range(len(flat))])
    return [_ranked(i, orders, [next(values) for _ in orders]) for i, orders in zip(items, asked, strict=True)]


def _ranked(item: TaskItem, orders: Sequence[AskedItem], values: Sequence[np.ndarray]) -> Json:
    chosen: list[int | None] = [a.order[best(list(v))] for a, v in zip(orders, values, strict=True)]
    mean = np.zeros(len(item.options))
    for a, v in zip(orders, values, strict=True):
        mean[list(a.order)] += v / len(orders)
    return {"log_probs": [round(float(x), 5) for x in mean]} | _chosen(item, chosen)


def _generated(item: TaskItem, orders: Sequence[AskedItem], clip: EncodedFile) -> Json:
    texts = [clip.worst.generate(Branch(a.aspect, a.text, quoted=True), OPTION_TOKENS) for a in orders]
    read = [read_answer(t, a.options, item.language, a.lettered) for t, a in zip(texts, orders, strict=True)]
    chosen = [None if r.place is None else a.order[r.place] for r, a in zip(read, orders, strict=True)]
    return {"texts": texts} | _chosen(item, chosen, "; ".join(dict.fromkeys(r.why for r in read if r.why)))


def pair_answer(item: TaskItem, task: Task, scores: Sequence[Mapping[str, ScoreDistribution]]) -> Json:
    """Which clip is better (or worse), from the scores of the two alone."""
    named = sides(item)
    assert named is not None and item.compare is not None  # `unsupported` was asked before
    found = [s.get(item.aspect) for s in scores]
    row: Json = {"scores": [None if s is None else s.score for s in found]}
    if found[0] is None or found[1] is None:
        return row | _chosen(item, [None], f"{item.aspect} of a clip was not scored")
    gap = found[0].score - found[1].score
    if "same" in named and abs(gap) < task.tie:
        return row | _chosen(item, [named["same"]])
    if gap == 0:
        return row | _chosen(item, [named.get("same")], "" if "same" in named else "equal scores")
    first = (gap > 0) == (item.compare == "better")
    return row | _chosen(item, [named["first" if first else "second"]])


def _chosen(item: TaskItem, chosen: Sequence[int | None], why: str = "") -> Json:
    """Credit is the share of orders with the right answer; an order without an answer is not right."""
    silent = sum(c is None for c in chosen)
    credit = None if item.right is None else sum(c == item.right for c in chosen) / len(chosen)
    row: Json = {"chosen": list(chosen), "silent": silent / len(chosen), "credit": credit}
    return row | _status("unanswered" if silent == len(chosen) else "answered", why)


def _status(status: str, why: str = "") -> dict[str, Any]:
    return {"status": status} | ({"why": why} if why else {})
