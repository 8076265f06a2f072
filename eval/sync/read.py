"""What a checkpoint, and the measured fact beside it, say of a clip's timing."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from eval.held_out import HeldOut, prepare_record
from eval.questions.readout import option_values
from eval.questions.task import AskedItem
from eval.sync.truth import CLASSES, DETECTABLE, GRID, KINDS, ShiftedReader, Truth
from eval.writing import told
from mllm_avqa.corridor import EncodedFile
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.records import Record

if TYPE_CHECKING:
    from mllm_avqa.media import MediaReader

log = logging.getLogger(__name__)

PREDICTORS = ("score", "answer", "answer_short", "fact")
CRITERION = 3.5  # sync scores below are "out of step": the border of good and fair
FACT = "av_content_offset"


@dataclass(frozen=True)
class Said:
    """out: whether the clip is called out of step. worse: grows with doubt, any unit. kind: of CLASSES, where named.

    measured: False where a fact could not be measured; it then counts as in step.
    """

    out: bool
    worse: float
    kind: str | None = None
    measured: bool = True


@dataclass(frozen=True)
class Reading:
    """A clip: what is true and what each of PREDICTORS says; one that is silent is missing."""

    clip: str
    group: str
    truth: Truth
    said: dict[str, Said]


def read(rater: Rater, clip: HeldOut, truth: Truth, language: str, criterion: float = CRITERION) -> Reading:
    """All predictors on one clip. Windows are pooled: scores as the card says, letters by mean log-probability."""
    said: dict[str, Said] = {}
    encoded = rater.corridor.encode_clip(clip.windows, language)
    score = encoded.scores.get("sync")
    if score is not None:
        said["score"] = Said(score.score < criterion, -score.score)
        said |= _answers(encoded, language)
    offsets = [m.value for p in clip.windows for m in p.evidence if m.name == FACT and m.value is not None]
    found = statistics.median(offsets) if offsets else 0.0
    kind = "early" if found < DETECTABLE[0] else "late" if found > DETECTABLE[1] else "in_step"
    said["fact"] = Said(kind != "in_step", abs(found), kind, bool(offsets))
    return Reading(clip.record.id, clip.record.group, truth, said)


def questions(language: str) -> dict[str, list[AskedItem]]:
    """The sync question in two wordings, each in five orders; place k of an order shows CLASSES[order[k]].

    answer: as recipes of style "steps" ask (prompts/tasks); answer_short: of style "short" (prompts/questions).
    """
    words, tasks = load_prompts("questions", language), load_prompts("tasks", language)
    recipes = {name: kind for kind, name in KINDS.items()}
    long = [tasks["sync"]["right" if c == "in_step" else recipes[c]] for c in CLASSES]
    short = [words["answers"]["none"] if c == "in_step" else words["names"][recipes[c]] for c in CLASSES]
    about = {"aspect": words["aspects"]["sync"], **words["verbs"]["sync"]}
    asked = {"answer": (tasks["ask"]["sync"][0], long), "answer_short": (words["stage1"]["kind"][0], short)}
    out: dict[str, list[AskedItem]] = {}
    for name, (text, answers) in asked.items():
        for turn in range(len(CLASSES)):
            order = tuple((k + turn) % len(CLASSES) for k in range(len(CLASSES)))
            options = tuple(answers[k] for k in order)
            shown = tuple(words["option"].format(letter=x, name=n) for x, n in zip("ABCDE", options, strict=True))
            question = text.format(options=words["joints"]["options"].join(shown), **about)
            out.setdefault(name, []).append(AskedItem("sync", question, shown, options, order, True))
    return out


def _answers(encoded: EncodedFile, language: str) -> dict[str, Said]:
    asked = questions(language)
    flat = [a for orders in asked.values() for a in orders]
    values = iter(np.mean([option_values(w, flat) for w in encoded.windows], axis=0))
    return {name: answered([next(values) for _ in orders]) for name, orders in asked.items()}


def answered(orders: Sequence[Sequence[float]]) -> Said:
    """The class whose letters have the highest mean log-probability over the orders of `questions`."""
    n = len(CLASSES)
    mean = np.zeros(n)
    for turn, values in enumerate(orders):
        for k, v in enumerate(values):
            mean[(k + turn) % n] += v / len(orders)
    shares = np.exp(mean - mean.max())
    shares /= shares.sum()
    kind = CLASSES[int(mean.argmax())]
    return Said(kind != "in_step", float(1 - shares[0]), kind)


# ---- sound moved -----------------------------------------------------------------------------------------------------


def grid_readings(
    rater: Rater, records: Sequence[Record], base: Path, language: str, criterion: float, failed: dict[str, str]
) -> list[Reading]:
    """Readings of clips in step, their sound moved to every offset of `GRID`."""
    out: list[Reading] = []
    for n, record in enumerate(records, 1):
        for ms in (0, *GRID):
            truth = Truth("early" if ms < 0 else "late" if ms else "in_step", float(ms), clean=not record.distortions)
            moved = cast("MediaReader", ShiftedReader(rater.reader, float(ms)))
            try:
                clip = prepare_record(record, base, rater, moved)
            except AvqaError as e:
                failed[f"{record.id}, {ms} ms"] = f"{e.kind}: {told(e, base, record.media)}"
                continue
            reading = read(rater, clip, truth, language, criterion)
            out.append(replace(reading, clip=f"{record.id}, {ms} ms"))
            rater.corridor.forget()
        log.info("grid: %d of %d clips", n, len(records))
    return out
