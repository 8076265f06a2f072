"""How a question with options is put, in every order of its options. Words are in prompts/bench.*.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from eval.questions.task import Item, Task
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import ConfigError

Side = Literal["first", "second", "same"]


@dataclass(frozen=True)
class Asked:
    """A question in one order of its options; place k shows option order[k]."""

    aspect: str
    text: str
    answers: tuple[str, ...]  # what the model would say, by place
    options: tuple[str, ...]  # bare texts, by place
    order: tuple[int, ...]
    lettered: bool  # options were shown with letters


def ask(item: Item, task: Task, shuffles: int) -> list[Asked]:
    """The item in up to `shuffles` orders: as given, then rotated, so that n orders put each option at every place.

    A question that does not list its options has one order. Raises ConfigError for a form that does not exist.
    """
    words = load_prompts("bench", item.language)
    name = "plain" if item.groups.get("type") in task.plain else task.form
    if name not in words["forms"]:
        raise ConfigError(f"task {task.name}: form {name!r} is not one of {', '.join(words['forms'])}")
    form, letters, n = words["forms"][name], words["letters"], len(item.options)
    if n > len(letters):
        raise ConfigError(f"item {item.id}: {n} options, at most {len(letters)} (--data)")
    out = []
    listed_in = "{options}" in form["ask"]
    for turn in range(min(shuffles, n) if listed_in else 1):
        order = tuple((k + turn) % n for k in range(n))
        shown = [{"letter": letters[k], "text": item.options[o]} for k, o in enumerate(order)]
        listed = form["join"].join(form["option"].format(**s) for s in shown)
        text = form["ask"].format(question=item.question, options=listed)
        answers = tuple(form["answer"].format(**s) for s in shown)
        lettered = listed_in and "{letter}" in form["option"]
        out.append(Asked(item.aspect, text, answers, tuple(item.options[o] for o in order), order, lettered))
    return out


def sides(item: Item) -> dict[Side, int] | None:
    """Which option of a comparison means the first clip, the second, or no difference; None unless both are named."""
    words = load_prompts("bench", item.language)["pair"]
    out: dict[Side, int] = {}
    for k, option in enumerate(item.options):
        kinds: list[Side] = [s for s in ("first", "second", "same") if re.search(words[s], option.lower())]
        if len(kinds) != 1 or kinds[0] in out:
            return None
        out[kinds[0]] = k
    return out if "first" in out and "second" in out else None
