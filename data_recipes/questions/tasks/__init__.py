"""Tasks of stage 1, by style: what can be asked of the faults of a clip.

Importing the package reads every file beside this one: a new task is a function with `@task` in any of them, or in a
file of its own, and its sentences in prompts/tasks.<lang>.yaml under `ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from random import Random
from typing import Any, Literal

from data_recipes.questions.facts import Words, faults_of, known
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.records import Distortion, Question, Record

Style = Literal["short", "steps"]
STYLES: tuple[Style, ...] = ("short", "steps")
Task = Callable[[Record, Random, Words], Question | None]
OfSide = Callable[[Record, str, list[Distortion], Random, Words], Question | None]

CLEAN_SIDE = 0.25  # how often stage 1 asks about an untouched side although another one has a fault
TASKS: dict[Style, dict[str, tuple[Task, float]]] = {style: {} for style in STYLES}  # name -> function, how often
TYPES: dict[
    str, Any
] = {}  # name -> type in a question bench; tasks without one are asked there when answered yes or no


def task(
    name: str, often: float, *, bench: str | None = None, styles: tuple[Style, ...] = STYLES
) -> Callable[[Task], Task]:
    """Decorator: the function makes questions of this task, or None where the record does not give one."""

    def added(make: Task) -> Task:
        for style in styles:
            TASKS[style][name] = make, often
        if bench is not None:
            TYPES[name] = bench
        return make

    return added


def of_side(make: OfSide) -> Task:
    """A task about one side, drawn for it, with the faults of that side, worst first."""

    def drawn(record: Record, rng: Random, words: Words) -> Question | None:
        sides = known(record)
        if not sides:
            return None
        faulty = [a for a in sides if any(d.modality == a for d in record.distortions)]
        clean = [a for a in sides if a not in faulty]
        aspect = rng.choice(clean if not faulty or (clean and rng.random() < CLEAN_SIDE) else faulty)
        return make(record, aspect, faults_of(record, aspect), rng, words)

    return drawn


def sentence(name: str, rng: Random, words: Words, aspect: str, **more: str) -> str:
    """One of the task's sentences, filled in with the name and verbs of the side and with `more`."""
    told = words["stage1"].get(name) or load_prompts("tasks", words["language"])["ask"][name]
    text: str = rng.choice(told).format(
        **{"aspect": words["aspects"][aspect], **words["verbs"].get(aspect, {}), **more}
    )
    return text


for _module in iter_modules(__path__):  # in order of their names: questions are drawn in the order of `TASKS`
    import_module(f"{__name__}.{_module.name}")
