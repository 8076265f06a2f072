"""Practice rows: facts without pixels and sound, new ones every time.

A row costs a sixth of a whole one: under isolation the score of a side sees nothing but its own segment, so a row may
hold that segment alone and still teach the same function. The facts of a row are those of a clip, with some taken from
another clip; the teacher says what they are worth. Clips with the same faults on a side ("kin") lend each other facts
and questions, whose answers stay true.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from torch.utils.data import Dataset

from mllm_avqa.evidence.base import Measurement
from mllm_avqa.levels import WORDS, word
from mllm_avqa.prompting import SEES, Branch, aspect_branch, explain_branch
from mllm_avqa.records import Record
from mllm_avqa.views import Views
from train.cache import CachedWindow
from train.data import Clips, Sample
from train.options import shuffled
from train.targets import target
from train.teacher import SIDES

KIN_TASKS = ("kind", "presence", "fault")  # questions whose answer is the same for all kin


class FactClips(Dataset[dict[str, Any]]):
    """Index -> record and its window without pixels and sound; all of it stays in memory (about 20 kB a clip)."""

    def __init__(self, clips: Clips) -> None:
        self.items = []
        for k in range(len(clips)):
            item = clips[k]
            w: CachedWindow = item["window"]
            blind = CachedWindow(Views(None, None, None), w.evidence, w.context, w.missing)
            self.items.append({"record": item["record"], "window": blind})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


@dataclass(frozen=True)
class Shares:
    """How often a row is of which sort; the rest of the one-sided rows are left as they are."""

    overall: float = 0.25  # rows of all sides, the two sides from different clips
    kin: float = 0.45  # one-sided rows mixed with kin
    strangers: float = 0.3  # one-sided rows mixed with any clip
    facts: float = 0.5  # up to this share of the facts comes from the other clip


class Practice:
    """Draws a row that starts from a clip of the set."""

    def __init__(self, clips: FactClips, questions: float, shares: Shares = Shares()) -> None:
        self.clips, self.questions, self.shares = clips, questions, shares
        self.having = {s: [i for i in clips.items if _has(i, s)] for s in SIDES}
        self.kin: dict[tuple[str, frozenset[str]], list[dict[str, Any]]] = {}
        for side in SIDES:
            for item in self.having[side]:
                self.kin.setdefault(_key(item["record"], side), []).append(item)

    def draw(self, item: dict[str, Any], language: str, rng: random.Random) -> Sample:
        sides = [s for s in SIDES if _has(item, s)]
        if len(sides) == 2 and rng.random() < self.shares.overall:
            return self._overall(item, language, rng)
        return self._side(item, rng.choice(sides or ["video"]), language, rng)

    def _side(self, item: dict[str, Any], side: str, language: str, rng: random.Random) -> Sample:
        record, window = item["record"], item["window"]
        if not _has(item, side):
            return Sample(record, window, [], only=("system",))
        own = [m for m in window.evidence if m.modality == side]
        pool = [q for q in record.questions if q.aspect == side]
        dice = rng.random()
        if dice < self.shares.kin:
            kin = self.kin[_key(record, side)]
            own = mix(own, rng.choice(kin)["window"].evidence, rng.random() * self.shares.facts, rng)
            lender = rng.choice(kin)["record"]
            pool = [q for q in lender.questions if q.aspect == side and q.task in KIN_TASKS]
        elif dice < self.shares.kin + self.shares.strangers:
            other = rng.choice(self.having[side])["window"].evidence
            own, pool = mix(own, other, rng.random() * self.shares.facts, rng), []
        pool = [q for q in pool if q.stage == 1 and q.language == language]
        count = int(self.questions) + (rng.random() < self.questions % 1)
        asked = [shuffled(q, rng) for q in rng.sample(pool, min(count, len(pool)))]
        return Sample(
            record,
            replace(window, evidence=own),
            [aspect_branch(side, language, level=WORDS[0]), *(Branch(side, q.question, "", q.answer) for q in asked)],
            only=SEES[side],
            taught=True,
        )

    def _overall(self, item: dict[str, Any], language: str, rng: random.Random) -> Sample:
        record, window = item["record"], item["window"]
        evidence = window.evidence
        questions = [aspect_branch(a, language, level=WORDS[0]) for a in record.labels if a not in window.missing]
        if rng.random() < self.shares.kin:  # as it is, and described
            described = [q for q in record.questions if q.stage == 3 and q.language == language]
            described = [q for q in described if q.aspect == "overall"]
            if described:
                levels = {a: word(target(lb).mean) for a, lb in record.labels.items() if a not in window.missing}
                questions.append(explain_branch(levels, language, rng.choice(described).answer))
        else:
            side = rng.choice(SIDES)
            other = rng.choice(self.having[side])["window"].evidence
            evidence = [m for m in evidence if m.modality != side] + [m for m in other if m.modality == side]
        return Sample(record, replace(window, evidence=evidence), questions, taught=True)


def mix(own: list[Measurement], other: list[Measurement], share: float, rng: random.Random) -> list[Measurement]:
    """The facts of `own`, each taken from `other` with probability `share`."""
    theirs = {m.name: m for m in other}
    return [theirs.get(m.name, m) if rng.random() < share else m for m in own]


def _has(item: dict[str, Any], side: str) -> bool:
    return side in item["record"].labels and side not in item["window"].missing


def _key(record: Record, side: str) -> tuple[str, frozenset[str]]:
    return side, frozenset(d.kind for d in record.distortions if d.modality == side)
