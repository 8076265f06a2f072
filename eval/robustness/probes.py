"""Probes of what must not move a score or an answer: other files of the same clip, batches and runs, order of options.

What this project does with bars: no view is cropped, the model sees them; signal facts of single pictures (blur, noise,
exposure ...) are measured inside them (`evidence.spatial.active_area`).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.held_out import HeldOut, Scores, clip_scores, prepare_record
from eval.questions.readout import best, option_values
from eval.questions.task import AskedItem
from eval.robustness.change import moved
from eval.robustness.rewrite import CHANGES, ON_PICTURE
from eval.stats import wilson
from eval.store import Json
from eval.writing import told
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.records import Question
from mllm_avqa.windows import Prepared


@dataclass
class _Rewritten:
    changes: dict[str, list[tuple[float, str]]] = field(default_factory=dict)  # by aspect: signed change, clip
    psnr: list[float] = field(default_factory=list)  # dB, of the native mini-patches of the first window
    failed: dict[str, str] = field(default_factory=dict)  # clip -> why it could not be written or rated again
    lost: int = 0  # aspects that one of the two files has and the other has not
    same: int = 0  # clips whose picture the model sees byte for byte as before


class SamePicture:
    """Rates every file again after each of `rewrite.CHANGES`. A file that cannot be changed is named and counted."""

    def __init__(self) -> None:
        self.found = {name: _Rewritten() for name in CHANGES}

    def add(self, rater: Rater, clip: HeldOut, base: Path, language: str) -> None:
        """Windows and context of the changed file are found anew, as for any file."""
        before = clip_scores(rater, [clip], language)[0]
        for name, change in CHANGES.items():
            if name in ON_PICTURE and "video" in clip.windows[0].missing:
                continue
            found = self.found[name]
            with tempfile.TemporaryDirectory(prefix="avqa-") as folder:
                try:
                    path = change(base / clip.record.media, Path(folder))
                    changed = prepare_record(clip.record.model_copy(update={"media": path.name}), path.parent, rater)
                except AvqaError as e:
                    why = told(e, base, clip.record.media).replace(f"{folder}/", "")
                    found.failed[clip.record.id] = f"{e.kind}: {why}"
                    continue
            after = clip_scores(rater, [changed], language)[0]
            rater.corridor.forget()
            found.lost += len(before.keys() ^ after.keys())
            for a in before.keys() & after.keys():
                found.changes.setdefault(a, []).append((after[a].score - before[a].score, clip.record.id))
            noise = psnr(clip.windows[0], changed.windows[0])
            if noise is not None:
                found.same += noise == float("inf")
                found.psnr.append(noise)

    def rows(self) -> list[Json]:
        """Per change and aspect: n, mean, max, above_0.05 of |change|, the clip that moved most, and what was lost."""
        out: list[Json] = []
        for name, f in self.found.items():
            real = [v for v in f.psnr if v != float("inf")]
            shared = {
                "failed": len(f.failed),
                "lost": f.lost,
                "same_picture": f.same,
                "lowest_psnr": round(min(real), 2) if real else None,
            }
            for aspect, changes in f.changes.items() or {"": []}.items():
                worst = max(changes, key=lambda c: abs(c[0]), default=(0.0, ""))[1]
                numbers = moved([c for c, _ in changes])
                out.append({"probe": "signal", "change": name, "aspect": aspect, **numbers, "worst": worst, **shared})
        return out

    @property
    def failures(self) -> dict[str, str]:
        """Clip and change -> why."""
        return {f"{clip}, {name}": why for name, f in self.found.items() for clip, why in f.failed.items()}


def psnr(a: Prepared, b: Prepared) -> float | None:
    """Peak signal-to-noise ratio (dB) of the mini-patches of two windows; None where their shapes differ."""
    x, y = a.views.fragments, b.views.fragments
    if x is None or y is None or x.shape != y.shape:
        return None
    error = float(np.mean((x.astype(np.float64) - y) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


SIZE = 8  # windows of a batch; windows alone are what it is compared with
WAYS = ("batch_8", "reversed", "second_run")


class Batches:
    """First windows of a chunk of clips: alone, eight to a batch, those in reverse, and all read and scored again."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, list[tuple[float, str]]]] = {way: {} for way in WAYS}
        self.failures: dict[str, str] = {}

    def add(self, rater: Rater, chunk: Sequence[HeldOut], base: Path, language: str) -> None:
        def score(clips: Sequence[HeldOut], size: int) -> list[Scores]:
            encoded = [rater.corridor.encode(c.windows[0], language, remember=True) for c in clips]
            return [
                s for i in range(0, len(encoded), size) for s in rater.corridor.score(encoded[i : i + size], language)
            ]

        alone = score(chunk, 1)
        self._compare("batch_8", chunk, alone, score(chunk, SIZE))
        self._compare("reversed", chunk, alone, score(chunk[::-1], SIZE)[::-1])
        again: list[tuple[HeldOut, HeldOut, Scores]] = []
        for clip, first in zip(chunk, alone, strict=True):
            try:
                again.append((clip, prepare_record(clip.record, base, rater), first))
            except AvqaError as e:  # it could be read a moment ago
                why = told(e, base, clip.record.media)
                self.failures[f"{clip.record.id}, second_run"] = f"{e.kind}: {why}"
        twice = score([h for _, h, _ in again], 1)
        self._compare("second_run", [c for c, _, _ in again], [s for *_, s in again], twice)
        rater.corridor.forget()

    def _compare(self, way: str, clips: Sequence[HeldOut], before: list[Scores], after: list[Scores]) -> None:
        for clip, a, b in zip(clips, before, after, strict=True):
            for aspect in a.keys() & b.keys():
                change = b[aspect].score - a[aspect].score
                self.changes[way].setdefault(aspect, []).append((change, clip.record.id))

    def rows(self) -> list[Json]:
        """Per way and aspect: n, mean, max, above_0.05 of |change|, and the clip that moved most."""
        out: list[Json] = []
        for way, by_aspect in self.changes.items():
            for aspect, changes in by_aspect.items() or {"": []}.items():
                worst = max(changes, key=lambda c: abs(c[0]), default=(0.0, ""))[1]
                numbers = moved([c for c, _ in changes])
                out.append({"probe": "batch", "change": way, "aspect": aspect, **numbers, "worst": worst})
        return out


@dataclass(frozen=True)
class _Answered:
    language: str
    chosen: tuple[int, ...]  # option of the first order, per order
    right: int

    @property
    def steady(self) -> bool:
        return len(set(self.chosen)) == 1


def orders(question: Question) -> list[AskedItem] | None:
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
        out.append(AskedItem(question.aspect or "overall", text, shown, tuple(names[o] for o in order), order, True))
    return out


class Shuffles:
    """Reads the stage-1 questions with lettered options that the records hold."""

    def __init__(self) -> None:
        self.asked: list[_Answered] = []
        self.places: dict[str, Counter[int]] = {}  # language -> place chosen, over all orders

    def add(self, rater: Rater, clip: HeldOut, language: str) -> None:
        mine = clip.record.asked(1, language)
        asked = [(q, o) for q in mine if (o := orders(q)) is not None]
        if not asked:
            return
        _, encoded = rater.corridor.hold(rater.corridor.encode(clip.windows[0], language, remember=True), language)
        values = iter(option_values(encoded, [a for _, found in asked for a in found]))
        for question, found in asked:
            places = [best(next(values)) for _ in found]
            self.places.setdefault(language, Counter()).update(places)
            chosen = tuple(a.order[place] for a, place in zip(found, places, strict=True))
            right = (question.options or []).index(question.answer)
            self.asked.append(_Answered(language, chosen, right))

    def rows(self) -> list[Json]:
        """Per language: questions whose answer is the same in every order [Wilson 95 %], and accuracy over orders.

        favourite_share: answers at the most chosen place over all orders; without a preference it is 1 / options.
        """
        out: list[Json] = []
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
