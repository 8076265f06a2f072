"""The same question with its options in every order: does the answer stay, and is a place preferred?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from eval.answers import wilson
from eval.held_out import HeldOut, Judge
from eval.options import best
from eval.questions.readout import option_values
from eval.questions.wording import Asked
from eval.robustness.change import Row
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.records import Question


@dataclass(frozen=True)
class _Answered:
    language: str
    chosen: tuple[int, ...]  # option of the first order, per order
    right: int

    @property
    def steady(self) -> bool:
        return len(set(self.chosen)) == 1


def orders(question: Question) -> list[Asked] | None:
    """A lettered question in n orders, rotated by one place each, so that every option is at every place once.

    None for a question that does not show lettered options in its text.
    """
    words = load_prompts("questions", question.language)
    options = question.options or []
    empty = [words["option"].format(letter=letter, name="") for letter in "ABCDEFGHIJ"[: len(options)]]
    listed = str(words["joints"]["options"]).join(options)
    lettered = all(o.startswith(e) for o, e in zip(options, empty, strict=True))
    if len(options) < 2 or not lettered or not question.question.endswith(listed):
        return None
    names = [o.removeprefix(e) for o, e in zip(options, empty, strict=True)]
    stem, n = question.question.removesuffix(listed), len(options)
    out = []
    for turn in range(n):
        order = tuple((k + turn) % n for k in range(n))
        shown = tuple(e + names[o] for e, o in zip(empty, order, strict=True))
        text = stem + str(words["joints"]["options"]).join(shown)
        out.append(Asked(question.aspect or "overall", text, shown, tuple(names[o] for o in order), order, True))
    return out


class Shuffles:
    """Reads the stage-1 questions with lettered options that the records hold."""

    def __init__(self) -> None:
        self.asked: list[_Answered] = []
        self.places: dict[str, Counter[int]] = {}  # language -> place chosen, over all orders

    def add(self, judge: Judge, clip: HeldOut, language: str) -> None:
        mine = clip.record.asked(1, language)
        asked = [(q, o) for q in mine if (o := orders(q)) is not None]
        if not asked:
            return
        _, encoded = judge.corridor.hold(judge.encode(clip.windows[0], language), language)
        values = iter(option_values(encoded, [a for _, found in asked for a in found]))
        for question, found in asked:
            places = [best(next(values)) for _ in found]
            self.places.setdefault(language, Counter()).update(places)
            chosen = tuple(a.order[place] for a, place in zip(found, places, strict=True))
            right = (question.options or []).index(question.answer)
            self.asked.append(_Answered(language, chosen, right))

    def rows(self) -> list[Row]:
        """Per language: questions whose answer is the same in every order [Wilson 95 %], and accuracy over orders.

        favourite_share: answers at the most chosen place over all orders; without a preference it is 1 / options.
        """
        out: list[Row] = []
        for language, places in self.places.items():
            found = [a for a in self.asked if a.language == language]
            steady, n = sum(a.steady for a in found), len(found)
            low, high = wilson(steady, n)
            credit = [sum(c == a.right for c in a.chosen) / len(a.chosen) for a in found]
            place, count = places.most_common(1)[0]
            out.append(
                {
                    "probe": "options", "language": language, "n": n,
                    "steady": round(steady / n, 4), "low": round(low, 4), "high": round(high, 4),
                    "accuracy": round(sum(credit) / n, 4),
                    "accuracy_as_given": round(sum(a.chosen[0] == a.right for a in found) / n, 4),
                    "favourite_place": "ABCDEFGHIJ"[place],
                    "favourite_share": round(count / sum(places.values()), 4),
                    "chance": round(sum(1 / len(a.chosen) for a in found) / n, 4),
                }
            )  # fmt: skip
        return out or [{"probe": "options", "n": 0, "note": "the records hold no question with lettered options"}]
