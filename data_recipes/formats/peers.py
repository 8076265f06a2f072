"""The questions of records as training data of peers: LLaVA conversations and ms-swift messages, a row per question.

LLaVA: {"id", "video" | "image", "conversations": [{"from": "human", "value": "<video>\\n..."}, {"from": "gpt", ...}]}.
ms-swift 4.x (docs, Custom-dataset, Multimodal): {"messages", "images", "videos", "audios"} with a tag per item in the
text. The sound is an item of its own (`<video><audio>`), so USE_AUDIO_IN_VIDEO stays off: with it on, ms-swift fails on
a silent clip. ms-swift reads the sound out of video files with SWIFT_AUDIO_LOAD_BACKEND=soundfile_pyav.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Literal

from mllm_avqa.media import MediaReader
from mllm_avqa.model.prompting import SEES, aspect_branch, load_prompts
from mllm_avqa.schema.errors import MediaError
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.records import Question, Record

Example = dict[str, Any]  # of a trainer's file
STILL = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
SOUND = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac"})
_SLACK = 0.25  # s by which a record may end before its file and still mean all of it: containers round
_TAG = re.compile(r"<(\|?/?[A-Za-z][\w-]*\|?)>")


@dataclass(frozen=True)
class Holds:
    """Streams of a file. seconds: None when it was not opened."""

    moving: bool
    still: bool
    sound: bool
    seconds: float | None = None

    def is_whole(self, record: Record) -> bool:
        """Whether the record is about the file from its start to its end (as far as that is known)."""
        late = (record.start or 0.0) > _SLACK
        early = record.end is not None and self.seconds is not None and record.end < self.seconds - _SLACK
        return not (late or early)


def by_name(record: Record) -> Holds:
    """A guess without opening the file: its suffix, and sound where something is said about the sound."""
    suffix = PurePath(record.media).suffix.lower()
    if suffix in STILL or suffix in SOUND:
        return Holds(False, suffix in STILL, suffix in SOUND)
    heard = {"audio", "sync"} & {*record.labels, *(q.aspect for q in record.questions)}
    return Holds(True, False, bool(heard))


def by_opening(reader: MediaReader) -> Callable[[str], Holds]:
    """A function of a path that opens the file (about 7 ms). It raises MediaError for one that can not be read."""

    @lru_cache(maxsize=16)  # the spans of one file follow each other
    def look(path: str) -> Holds:
        info = reader.probe(path)
        still = info.video is not None and info.video.still
        return Holds(info.video is not None and not still, still, info.audio is not None, info.duration)

    return look


@dataclass(frozen=True)
class Choice:
    """Which questions are written. None = all."""

    stages: frozenset[int] | None = None
    aspects: frozenset[str] | None = None
    language: Literal["en", "zh"] | None = None
    levels: bool = False  # adds a question per labelled aspect, answered with the level word (Q-Align, 2312.17090)
    context: bool = False  # also questions that need the texts given with the clip; the texts are quoted before them


@dataclass
class Exported:
    """What was written, and why the rest was not."""

    records: int = 0
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # rows or whole records, by reason
    failures: list[str] = field(default_factory=list)  # media that could not be read


def plain(text: str) -> str:
    """Text without anything that trainers take for a media item or a control token: `<video>` becomes `‹video›`."""
    return _TAG.sub(r"‹\1›", text)


def texts(record: Record, question: Question) -> dict[str, str]:
    """Texts the answer may rest on that are not in the clip, by origin."""
    given = record.context if question.context is None else question.context
    return given if "text" in SEES.get(question.aspect or "overall", SEES["overall"]) else {}


def asked(record: Record, choice: Choice) -> Iterator[tuple[str, Question]]:
    """(id, question) of everything a record asks; ids do not depend on the choice."""
    for n, question in enumerate(record.questions):
        if choice.language in (None, question.language):
            yield f"{record.id}/{n}", question
    if choice.levels:
        language = choice.language or "en"
        for aspect, label in record.labels.items():
            level = word(label.mean_five)
            b = aspect_branch(aspect, language, level)
            question = Question(
                stage=2, task="level", aspect=aspect, language=language, question=b.question, answer=b.stem + b.answer
            )
            yield f"{record.id}/level-{aspect}-{language}", question


def prompt(question: Question, quoted: dict[str, str]) -> str:
    """The human turn without media tags; the texts come before the question."""
    said = [plain(question.question)]
    if quoted:
        words = load_prompts("rating", question.language)
        quotes = [words["quote"].format(origin=origin, text=plain(text)) for origin, text in quoted.items()]
        said = [" ".join([words["segments"]["text"], *quotes]), *said]
    return "\n".join(said)


def llava(id: str, media: str, holds: Holds, prompt: str, answer: str) -> Example | None:
    """None for a file without a picture: the format has no place for one."""
    if not (holds.moving or holds.still):
        return None
    key = "video" if holds.moving else "image"
    turns = [{"from": "human", "value": f"<{key}>\n{prompt}"}, {"from": "gpt", "value": answer}]
    return {"id": id, key: media, "conversations": turns}


def ms_swift(id: str, media: str, holds: Holds, prompt: str, answer: str) -> Example | None:
    """All three lists in every row: `datasets` wants the same columns everywhere. `id` is dropped by the trainer."""
    items = {"image": holds.still, "video": holds.moving, "audio": holds.sound}
    tags = "".join(f"<{key}>" for key, there in items.items() if there)
    turns = [{"role": "user", "content": f"{tags}{prompt}"}, {"role": "assistant", "content": answer}]
    return {"id": id, "messages": turns, **{f"{key}s": [media] if there else [] for key, there in items.items()}}


PEERS: dict[str, Callable[[str, str, Holds, str, str], Example | None]] = {"llava": llava, "ms-swift": ms_swift}


def rows(
    records: Iterable[tuple[Record, str]],
    peer: str,
    choice: Choice,
    look: Callable[[Record], Holds],
    outcome: Exported,
) -> Iterator[Example]:
    """One row per question.

    records: each with the media path to be written. look: what the file of a record holds. `outcome` is counted up;
    a file that can not be read is counted as a failure and its record left out.
    """
    make = PEERS[peer]
    for record, media in records:
        outcome.records += 1
        wanted = [
            (id, q)
            for id, q in asked(record, choice)
            if (choice.stages is None or q.stage in choice.stages)
            and (choice.aspects is None or (q.aspect or "overall") in choice.aspects)
        ]
        if not wanted:
            outcome.left_out["records without a question of the kind asked for"] += 1
            continue
        try:
            holds = look(record)
        except MediaError as e:
            outcome.failures.append(f"{record.id}: {e}")
            continue
        if not holds.is_whole(record):
            outcome.left_out["records about a part of a longer file (cut it first)"] += 1
            continue
        for id, question in wanted:
            quoted = texts(record, question)
            row = make(id, media, holds, prompt(question, quoted), plain(question.answer))
            if question.other is not None:
                outcome.left_out["questions that compare with a second clip"] += 1
            elif quoted and not choice.context:
                outcome.left_out["questions that need texts given with the clip (--with-context)"] += 1
            elif row is None:
                outcome.left_out[f"questions about a file without a picture ({peer} has no place for one)"] += 1
            else:
                outcome.rows += 1
                yield row
