"""Lettered questions in a new order: the letter of the right answer must be worked out, not remembered."""

from __future__ import annotations

import random

from mllm_avqa.records import Question


def shuffled(q: Question, rng: random.Random) -> Question:
    """The question with its options in another order. Unlettered questions come back as they are."""
    options = q.options or []
    split = [o.partition(". ") for o in options]
    if len(options) < 2 or not all(dot and len(letter) == 1 for letter, dot, _ in split) or q.answer not in options:
        return q
    first, last = q.question.find(options[0]), q.question.find(options[-1])
    if first < 0 or last < 0:
        return q
    between = q.question[first + len(options[0]) : q.question.find(options[1])]
    if q.question[first:] != between.join(options):
        return q
    names = [name for _, _, name in split]
    right = names[options.index(q.answer)]
    rng.shuffle(names)
    new = [f"{letter}. {name}" for (letter, _, _), name in zip(split, names, strict=True)]
    return q.model_copy(
        update={
            "question": q.question[:first] + between.join(new),
            "options": new,
            "answer": new[names.index(right)],
        }
    )
