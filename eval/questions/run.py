"""One benchmark with one checkpoint: every item becomes a log row; a file is encoded once for all its questions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from eval.held_out import Scores, chunks
from eval.questions.answer import choice_answers, open_answer, pair_answer, score_answer, unsupported
from eval.questions.readers import read_items
from eval.questions.task import READOUTS, Readout, Task, TaskItem
from eval.samples import spread
from eval.store import SCORING, Json, Log, code, digest
from mllm_avqa.corridor import EncodedFile
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

CHUNK = 8  # clips decoded ahead


@dataclass(frozen=True)
class ClipKey:
    """What makes two questions share a prefix."""

    media: str
    span: tuple[float, float] | None
    context: tuple[tuple[str, str], ...]
    language: str

    @cached_property
    def name(self) -> str:
        """Unique among keys, and readable in messages."""
        span = "" if self.span is None else f" {self.span[0]}-{self.span[1]} s"
        return f"{self.media}{span} {self.language}" + (f" {digest(self.context)}" if self.context else "")

    @cached_property
    def record(self) -> Record:
        start, end = self.span or (None, None)
        return Record(
            id=self.name, media=self.media, start=start, end=end, dataset="bench", group="bench",
            context=dict(self.context),
        )  # fmt: skip


def clip_keys(item: TaskItem) -> list[ClipKey]:
    context = tuple(sorted(item.context.items()))
    return [ClipKey(m, s, context, item.language) for m, s in zip(item.media, item.spans, strict=True)]


def encoded_clips(
    keys: Sequence[ClipKey], base: Path, rater: Rater, failures: dict[ClipKey, str]
) -> Iterator[tuple[ClipKey, EncodedFile]]:
    """Encode files one after the other, decoding ahead. A file that fails is noted with its reason, not yielded."""
    by_id = {k.name: k for k in keys}
    noted: dict[str, str] = {}
    for chunk in chunks([k.record for k in keys], base, rater, CHUNK, noted):
        for held in chunk:
            key = by_id[held.record.id]
            yield key, rater.corridor.encode_clip(held.windows, key.language)
            held.windows.clear()
        rater.corridor.forget()
    failures.update({by_id[i]: why for i, why in noted.items()})


log = logging.getLogger(__name__)


class Asking(Protocol):
    """Of a study: how its questions are asked."""

    readout: Readout
    shuffles: int
    context: Literal["none", "fast", "full"]
    clips: int | None
    fresh: bool


@dataclass(frozen=True)
class Answers:
    """What a run gives: the items it was asked for and a row for each, in the same order."""

    task: Task
    items: list[TaskItem]
    rows: list[Json]
    checkpoint: str
    fingerprint: dict[str, str]
    how: dict[str, object]  # readout, shuffles, context


def answer_all(
    task: Task,
    data: Path,
    media: Path | None,
    opened: Callable[[], AbstractContextManager[Rater]],
    out: Path,
    how: Asking,
) -> Answers:
    """Ask every item. Rows already in the log of the same run are kept; missing media and failures are tried again.

    Raises ConfigError (data), CheckpointError, OutputError (log of another run).
    """
    items = read_items(task, data)
    base = media if media is not None else data if data.is_dir() else data.parent
    if not base.is_dir():
        raise ConfigError(f"media folder {base} does not exist (--media-root)")
    if how.clips is not None:
        items = spread(items, how.clips)
    with opened() as rater:
        return _answer(task, items, base, rater, how, out)


def _answer(task: Task, items: list[TaskItem], base: Path, rater: Rater, how: Asking, out: Path) -> Answers:
    run = digest(
        task.model_dump(mode="json", exclude={"notes", "about", "source", "licence", "groups"}),
        [dict(load_prompts("bench", x)) for x in ("en", "zh")],
        code(*SCORING, "eval/questions"), rater.fingerprint, READOUTS[how.readout], how.shuffles,
    )  # fmt: skip
    keys = [digest(asdict(i)) for i in items]
    by_id = dict(zip((i.id for i in items), keys, strict=True))
    with Log(out / f"{task.name}.jsonl", run, fresh=how.fresh) as file:
        todo = [i for i, key in zip(items, keys, strict=True) if not file.has(key)]
        if len(todo) < len(items):
            log.info("%d of %d items are in %s already", len(items) - len(todo), len(items), file.path)
        for i, row in _rows(task, todo, base, rater, how):
            file.add(by_id[i.id], _head(i) | row)
        file.tidy(keys)
        rows = [file.rows[key] for key in keys]
    told: dict[str, object] = {"readout": how.readout, "shuffles": how.shuffles, "context": how.context}
    return Answers(task, items, rows, rater.card.name, rater.fingerprint, told)


def _head(i: TaskItem) -> Json:
    row: dict[str, Any] = {"id": i.id, "media": list(i.media)}
    optional = {"question": i.question, "options": list(i.options), "reference": i.reference, "score": i.score}
    row |= {k: v for k, v in optional.items() if v not in ("", [], None)}
    return row | ({"right": i.right} if i.options else {}) | {"groups": i.groups}


def _rows(
    task: Task, items: Sequence[TaskItem], base: Path, rater: Rater, how: Asking
) -> Iterator[tuple[TaskItem, Json]]:
    """(item, row) as they come. Items of one clip share its prefix; a pair waits for its second clip."""
    waiting: dict[ClipKey, list[TaskItem]] = {}
    for i in items:
        absent = [m for m in i.media if not (base / m).is_file()]
        why = unsupported(i)
        if why is not None:
            yield i, {"status": "unsupported", "why": why}
        elif absent:
            yield i, {"status": "missing", "why": f"no file {', '.join(absent)}"}
        else:
            for key in dict.fromkeys(clip_keys(i)):
                waiting.setdefault(key, []).append(i)
    failures: dict[ClipKey, str] = {}
    scores: dict[ClipKey, Scores] = {}
    for key, clip in encoded_clips(list(waiting), base, rater, failures):
        scores[key] = clip.scores
        single = [i for i in waiting[key] if len(i.media) == 1]
        yield from _of_clip(task, single, clip, how)
        for i in waiting[key]:
            both = clip_keys(i)
            if len(both) == 2 and all(k in scores for k in both):
                yield i, pair_answer(i, task, [scores[k] for k in both])
    told: set[str] = set()
    for key, why in failures.items():
        for i in waiting[key]:
            if i.id not in told:
                told.add(i.id)
                yield i, {"status": "failed", "why": why}


def _of_clip(task: Task, items: Sequence[TaskItem], clip: EncodedFile, how: Asking) -> Iterator[tuple[TaskItem, Json]]:
    choices = [i for i in items if i.options]
    yield from zip(choices, choice_answers(choices, task, clip, how.readout, how.shuffles), strict=True)
    for i in items:
        if not i.options:
            yield i, (score_answer if task.ask == "rate" else open_answer)(i, task, clip)
