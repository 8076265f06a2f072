"""The audio-video question bench: multiple-choice items on held-out clips, balanced over types, sides and positions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast, get_args

from data_recipes.questions import Language, questions
from data_recipes.questions.facts import aspects
from data_recipes.questions.stage2 import context_question, level_question, pairs
from data_recipes.questions.tasks import TYPES as STAGE1_TYPES
from data_recipes.questions.write import Balance
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.bench_item import BenchItem, Concern, QuestionType
from mllm_avqa.schema.bench_item import write_bench as write_items
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.records import Question, Record, Split, read_records, relocation

PER_CLIP = 24  # stage-1 candidates per clip and language
# Every task with the answers yes and no that is not here is "yes-no"; other tasks with free answers are left out.
TYPES: dict[str, QuestionType] = {**STAGE1_TYPES, "level": "how", "context": "how", "compare": "compare"}


def write_bench(
    source: Path,
    out: Path,
    split: str = "test",
    count: int = 1000,
    languages: Sequence[Language] = ("en",),
    seed: int = 0,
    allow_train: bool = False,
) -> dict[str, Any]:
    """Write at most `count` items per language; returns numbers about them.

    Every pair of question type and modality gets the same room, and what it cannot fill stays empty. A clip that
    shares content with a training clip is left out. Equal arguments give equal files. Raises ConfigError for the split
    "train" unless allowed, for a split that does not exist or has no record, and for a file that cannot be read.
    """
    if split not in get_args(Split):
        raise ConfigError(f"split {split!r} does not exist; allowed: {', '.join(get_args(Split))} (--split)")
    if split == "train" and not allow_train:
        raise ConfigError("a bench of training clips measures memory; allowed: val, test (--split, --allow-train)")
    records = list(read_records(source))
    held, leaking = _held_out(records, split)
    if not held:
        found = Counter(str(r.split) for r in records)
        raise ConfigError(
            f"{source} has no clip of split {split!r} whose content is new; it has {dict(found)}, {leaking} share "
            "content with training clips (--split)"
        )
    items: list[BenchItem] = []
    place = relocation(source.parent, out.parent)
    for language in languages:
        rng = Random(f"{seed}/{language}")
        items += _picked(_candidates(held, language, rng, place, count), count, language, rng)
    write_items(out, items)
    cells = Counter(f"{i.question_type}/{i.modality}" for i in items)
    places: dict[str, Counter[int]] = defaultdict(Counter)
    for i in items:
        places[str(len(i.options))][i.correct] += 1
    return {
        "items": len(items),
        "clips": len({i.media for i in items}),
        "left_out_for_shared_content": leaking,
        "cells": dict(sorted(cells.items())),
        "concerns": dict(sorted(Counter(i.concern for i in items).items())),
        "places": {n: [c[k] for k in range(int(n))] for n, c in sorted(places.items())},
    }


def _held_out(records: Iterable[Record], split: str) -> tuple[list[Record], int]:
    """Records of the split whose content no training record has, and the number of the others."""
    records = list(records)
    trained = {part for r in records if r.split == "train" for part in r.group.split("+")}
    mine = [r for r in records if r.split == split]
    held = [r for r in mine if split == "train" or not trained & set(r.group.split("+"))]
    return held, len(mine) - len(held)


def _candidates(
    records: Sequence[Record], language: Language, rng: Random, place: Callable[[str], str], count: int
) -> list[BenchItem]:
    words = load_prompts("questions", language)
    items: list[BenchItem] = []
    by_id = {r.id: r for r in records}
    for record in records:
        asked = questions(record, rng, language, 1, PER_CLIP, "steps")
        for aspect in (a for a in ("overall", *aspects(record)) if a in record.labels):
            asked.append(level_question(record, aspect, rng, words))
            asked.append(context_question(record, aspect, rng, words))
        items += [i for n, q in enumerate(asked) if (i := _item(record, q, n, None, place)) is not None]
    for n, (first, second, q) in enumerate(pairs(records, rng, language, count)):
        item = _item(first, q, PER_CLIP + 10 + n, by_id[second.id], place)
        if item is not None:
            items.append(item)
    return items


def _item(
    record: Record, q: Question, number: int, second: Record | None, place: Callable[[str], str]
) -> BenchItem | None:
    """A question as an item with the right option first; None for a task with free answers."""
    words = load_prompts("questions", q.language)
    yes_no = [words["answers"]["yes"], words["answers"]["no"]]
    text, right = q.question, q.answer
    if q.task in ("level", "context"):
        options = list(WORDS)
    elif q.task == "severity":
        options = [words["severities"][s] for s in SEVERITIES]
    elif q.task == "worse":
        options = [words["aspects"]["video"], words["aspects"]["audio"], words["answers"]["same"]]
    elif q.answer in yes_no:
        options = yes_no
    elif q.options and q.task in TYPES:
        options = list(q.options)
        if q.task != "compare":  # letters and the list of options are the evaluator's to write
            text = text.replace(words["joints"]["options"].join(options), "").strip()
            options, right = [_bare(o) for o in options], _bare(right)
    else:
        return None
    others = [o for o in options if o != right]
    return BenchItem(
        id=f"{q.language}/{record.id}/{number}",
        media=place(record.media),
        media_b=None if second is None else place(second.media),
        question=text,
        options=[right, *others],
        correct=0,
        question_type=TYPES.get(q.task, "yes-no"),
        modality=cast(Any, q.aspect or "overall"),
        concern=_concern(q),
        context=record.context if q.context is None else q.context,
        time_span=_span(record),
        time_span_b=None if second is None else _span(second),
        language=q.language,
        source=f"{record.dataset}/{record.id}" + ("" if second is None else f" and {second.id}"),
        licence=_licence(record, second),
    )


def _bare(option: str) -> str:
    """An option without its letter."""
    return option.split(". ", 1)[1]


def _concern(q: Question) -> Concern:
    if q.task == "context":
        return "context"
    if q.stage == 2:
        return "quality"
    return "local-fault" if q.time_span is not None or q.task in ("time", "where") else "fault"


def _span(record: Record) -> tuple[float, float] | None:
    return None if record.end is None else (record.start or 0.0, record.end)


def _licence(*records: Record | None) -> str | None:
    return "; ".join(sorted({r.licence for r in records if r is not None and r.licence})) or None


def _picked(candidates: list[BenchItem], count: int, language: str, rng: Random) -> list[BenchItem]:
    """The same number of every type and modality, clips spread, the right option equally often at every place."""
    cells: dict[tuple[str, str], list[BenchItem]] = defaultdict(list)
    for item in candidates:
        cells[item.question_type, item.modality].append(item)
    room = -(-count // max(1, len(cells)))
    places: dict[int, Counter[int]] = defaultdict(Counter)
    balance, chosen = Balance(), list[BenchItem]()
    for key in sorted(cells):
        taken = 0
        for item in _spread(cells[key], rng):
            if taken == room or len(chosen) == count:
                break
            if not balance.takes_answer(("/".join(key), language), item.options[0], language):
                continue
            chosen.append(_placed(item, places[len(item.options)], rng))
            taken += 1
    return chosen


def _spread(items: list[BenchItem], rng: Random) -> list[BenchItem]:
    """In random order, every clip once before any clip twice."""
    shuffled = rng.sample(items, len(items))
    seen: Counter[str] = Counter()
    rounds = []
    for item in shuffled:
        rounds.append(seen[item.media])
        seen[item.media] += 1
    return [i for _, i in sorted(zip(rounds, shuffled, strict=True), key=lambda pair: pair[0])]


def _placed(item: BenchItem, used: Counter[int], rng: Random) -> BenchItem:
    """The right option moved to a place it was least often at; the others in random order."""
    n = len(item.options)
    least = min(used[k] for k in range(n))
    place = rng.choice([k for k in range(n) if used[k] == least])
    used[place] += 1
    others = rng.sample(item.options[1:], n - 1)
    return item.model_copy(update={"options": [*others[:place], item.options[0], *others[place:]], "correct": place})
