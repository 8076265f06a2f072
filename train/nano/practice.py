"""Practice rows: facts without pixels and sound, new ones every time.

A row costs a sixth of a whole one: under isolation the score of a side sees nothing but its own segment (that of text
a few), so a row may hold that alone and still teach the same function. The facts of a row are those of a
clip, with some taken from another clip; the teacher says what they are worth. Clips with the same faults on a side
("kin") lend each other facts and questions, whose answers stay true. A share of the batches may be whole rows, so
that what practice teaches and what pixels and sound teach are learnt at the same time, not one at the cost of the
other.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from mllm_avqa.model.prompting import SEES, Branch, aspect_branch, load_prompts
from mllm_avqa.model.views import Views
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Question, Record
from mllm_avqa.schema.text import TextContext, TextItem
from train.cache import CachedWindow
from train.config import PracticeShares, QuestionMix
from train.data import Clips
from train.mini.replay import replayed
from train.nano.teacher import REST, SIDES
from train.questions import LIST, DrawRows, Sample, branches, explanation, perceived, whole

RENAMED = 0.5  # of the rows that are written without a clip
ALL = (*SIDES, *REST)
KIN_TASKS = ("kind", "presence", "fault")  # questions whose answer is the same for all kin


class FactClips(Dataset[dict[str, Any]]):
    """Index -> record and its window without pixels and sound; all of it stays in memory (about 20 kB a clip).

    A clip that cannot be read keeps its `window` None (`data.Clips`).
    """

    def __init__(self, clips: Clips) -> None:
        self.clips = clips
        self.items = []
        for k in range(len(clips)):
            item = clips[k]
            w: CachedWindow | None = item["window"]
            blind = w and CachedWindow(Views(None, None, None), w.evidence, w.context, w.missing)
            self.items.append(item | {"window": blind, "index": k})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


class Practice:
    """Draws rows that start from the clips of a batch. `whole` draws those that stay as they are.

    lettered: share of the questions with options that are asked with letters.
    """

    def __init__(
        self, clips: FactClips, questions: float, shares: PracticeShares, whole: DrawRows, lettered: float = 0.0
    ) -> None:
        self.clips, self.questions, self.shares, self.whole, self.lettered = clips, questions, shares, whole, lettered
        self.having = {s: [i for i in clips.items if i["window"] is not None and _has(i, s)] for s in (*SIDES, "text")}
        self.texts = [t for i in clips.items if i["window"] is not None for t in i["window"].context.items]
        self.words = _words(clips.items, self.texts)
        self.timed = [i for i in clips.items if i["window"] is not None and any(_has(i, s) for s in REST)]
        self.kinds = {s: {d.kind for i in clips.items for d in i["record"].distortions if d.modality == s} for s in ALL}
        self.kin: dict[Any, list[dict[str, Any]]] = {}
        self.twins: dict[Any, list[dict[str, Any]]] = {}
        for side, having in self.having.items():
            for item in having:
                self.kin.setdefault(_kinds(item["record"], side), []).append(item)
                self.twins.setdefault(_levels(item["record"], side), []).append(item)

    def draw(self, items: list[dict[str, Any]], languages: list[str], rng: random.Random) -> list[Sample]:
        """The rows of one batch: all of one side each, or a third as many of both sides.

        Rows of both sides are three times as long; in one batch with the others they would pad them all.
        """
        if rng.random() < self.shares.whole:
            full = [self.clips.clips[i["index"]] for i in items[: -(-len(items) // 3)]]
            return self.whole([i for i in full if i["window"] is not None], languages, rng)
        if self.shares.replay and rng.random() < self.shares.replay:
            return replayed(items, rng)
        if self.shares.written and rng.random() < self.shares.written:
            return [self._written(i, rng.choice(languages), rng) for i in items]
        if rng.random() < self.shares.overall:
            both = ([i for i in items if all(_has(i, s) for s in SIDES)] or items[:1])[: -(-len(items) // 3)]
            if self.timed and self.shares.timed:  # few clips have a score of timing or captions
                both = [rng.choice(self.timed) if rng.random() < self.shares.timed else i for i in both]
            return [self._overall(i, rng.choice(languages), rng) for i in both]
        out = []
        for item in items:
            lang = rng.choice(languages)
            sides = [s for s in SIDES if _has(item, s)] or list(SIDES)
            if self.having["text"] and self.shares.text and rng.random() < self.shares.text:
                item, sides = rng.choice(self.having["text"]), ["text"]
            out.append(self._side(item, rng.choice(sides), lang, rng))
        return out

    def _side(self, item: dict[str, Any], side: str, language: str, rng: random.Random) -> Sample:
        record, window = item["record"], item["window"]
        if not _has(item, side):
            return Sample(record, window, [], language, only=("system",))
        own = [m for m in window.evidence if m.modality == side]
        asked = [q for q in record.asked(1, language) if q.aspect == side]
        how = self._how(rng.random())
        if how is not None:
            lenders = {
                "kin": self.kin[_kinds(record, side)],
                "strangers": self.having[side],
                "listed": self.twins[_levels(record, side)],
            }[how]
            own = mix(own, rng.choice(lenders)["window"].evidence, rng.random() * self.shares.facts, rng)
            if how == "kin":
                lender = rng.choice(lenders)["record"]
                tasks = KIN_TASKS[:1] if rng.random() < self.shares.kinds else KIN_TASKS
                asked = [q for q in lender.asked(1, language) if q.aspect == side and q.task in tasks]
            elif how == "strangers":
                asked = []
        count = whole(self.questions, rng)
        lists = self._lists(record, side, language) if how == "listed" else []
        drawn = lists or rng.sample(asked, min(count, len(asked)))
        seen, context = [], window.context
        if side == "text":
            around = rng.choice(self.having[side])["window"] if how is not None else window
            seen = [m for m in around.evidence if m.modality in SEES[side] and m.modality != side]
            context = self._texts(context, how is not None, rng)
        return Sample(
            record,
            replace(window, evidence=[*seen, *own], context=context),
            [aspect_branch(side, language, level=WORDS[0]), *(perceived(q, self.lettered, rng) for q in drawn)],
            language,
            only=SEES[side],
            taught=True,
        )

    def _how(self, dice: float) -> str | None:
        """Whose facts a one-sided row is mixed with, by the shares; None: it stays as it is."""
        for how in ("kin", "strangers", "listed"):
            dice -= getattr(self.shares, how)
            if dice < 0:
                return how
        return None

    @staticmethod
    def _lists(record: Record, side: str, language: str) -> list[Question]:
        return [q for q in record.asked(3, language, LIST) if q.aspect == side]

    def _overall(self, item: dict[str, Any], language: str, rng: random.Random) -> Sample:
        """Both sides, one of them and the text from other clips; or the clip as it is, to be described."""
        record, window = item["record"], item["window"]
        questions = [aspect_branch("overall", language, level=WORDS[0])]
        side, evidence, mixed = rng.choice(SIDES), window.evidence, False
        if rng.random() < self.shares.described:
            # Unmixed facts of training clips: the sides' scores would be learnt by heart here.
            questions = branches(record, QuestionMix(stage2=1, stage3=1), language, window.missing, rng)
            questions = [q for q in questions if not (q.stem and q.aspect in SIDES)]
        else:
            other = rng.choice(self.having[side] or [item])["window"].evidence
            evidence = [m for m in evidence if m.modality != side] + [m for m in other if m.modality == side]
            mixed = True
            for rest in [a for a in REST if a in record.labels and a not in window.missing]:
                questions.append(aspect_branch(rest, language, level=WORDS[0]))
                lists = self._lists(record, rest, language) if self.shares.listed else []
                questions += [Branch(rest, q.question, "", q.answer) for q in lists]
        context = self._texts(window.context, mixed, rng)
        return Sample(record, replace(window, evidence=evidence, context=context), questions, language, taught=True)

    def _texts(self, own: TextContext, mixed: bool, rng: random.Random) -> TextContext:
        """The clip's texts; beside mixed facts those of any clips, or any words in any order: no text is worth a score,
        whatever it says. Or none."""
        items = own.items
        if mixed:
            items = rng.sample(self.texts, min(rng.randint(1, 4), len(self.texts)))
            if self.shares.scrambled and rng.random() < self.shares.scrambled:
                said = [" ".join(rng.choices(self.words, k=rng.randint(3, 20))) for _ in items]
                items = [t.model_copy(update={"text": s}) for t, s in zip(items, said, strict=True)]
        return TextContext(items=items) if rng.random() < self.shares.context else TextContext()

    def _written(self, item: dict[str, Any], language: str, rng: random.Random) -> Sample:
        """No clip: the scores and lists of the request say all there is to write."""
        asked = explanation(item["record"], language, item["window"].missing if item["window"] else {}, rng)
        if asked is not None and rng.random() < RENAMED:
            asked = renamed(asked, language, self.kinds, rng)
        return Sample(item["record"], item["window"], [asked] if asked else [], language, only=("system",))


def mix(own: list[Measurement], other: list[Measurement], share: float, rng: random.Random) -> list[Measurement]:
    """The facts of `own`, each taken from `other` with probability `share`."""
    theirs = {m.name: m for m in other}
    return [theirs.get(m.name, m) if rng.random() < share else m for m in own]


def renamed(branch: Branch, language: str, kinds: dict[str, set[str]], rng: random.Random) -> Branch:
    """The same with other faults, severities and levels, in question and answer alike: it can only be copied.

    A fault becomes another of its own side (`kinds`, by side): a picture never gets the faults of a sound.
    """
    prompts = load_prompts("questions", language)
    severities = [s for name, s in prompts["severities"].items() if name != "none"]
    sides = [sorted({prompts["names"][k] for k in own if k in prompts["names"]}) for own in kinds.values()]
    other: dict[str, str] = {}
    for words in (*sides, severities, list(WORDS)):
        other |= dict(zip(words, rng.sample(words, len(words)), strict=True))
    found = "|".join(re.escape(w) for w in sorted(other, key=len, reverse=True))
    pattern = re.compile(rf"(?<![A-Za-z])(?:{found})(?![A-Za-z])")
    question, answer = (pattern.sub(lambda m: other[m[0]], t) for t in (branch.question, branch.answer))
    return replace(branch, question=question, answer=answer)


def _has(item: dict[str, Any], side: str) -> bool:
    return side in item["record"].labels and side not in item["window"].missing


def _kinds(record: Record, side: str) -> tuple[str, frozenset[str]]:
    return side, frozenset(d.kind for d in record.distortions if d.modality == side)


def _levels(record: Record, side: str) -> tuple[str, frozenset[tuple[str, int]]]:
    return side, frozenset((d.kind, d.level) for d in record.distortions if d.modality == side)


def _words(items: list[dict[str, Any]], texts: list[TextItem]) -> list[str]:
    """Every word of the texts, and every short answer: level words, names of faults, times."""
    said = {w for t in texts for w in t.text.split()}
    said |= {q.answer for i in items for q in i["record"].questions if q.stage < 3}
    return sorted(said)
