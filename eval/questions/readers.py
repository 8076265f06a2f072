"""Data files of benchmarks as items. What a task's `fields` and `groups` can say needs no function of its own."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eval.questions.task import Direction, Task, TaskItem
from eval.store import Json
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.bench_item import read_bench
from mllm_avqa.schema.errors import ConfigError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_items(task: Task, data: Path) -> list[TaskItem]:
    """All items of a data file. Raises ConfigError with file and row for what is not an item of this task."""
    if not data.exists():
        raise ConfigError(f"{data} does not exist (--data)")
    readers: dict[str, Callable[[Task, Path], Iterator[TaskItem]]] = {
        "rows": rows,
        "folder": folder,
        "qbench_video": qbench_video,
        "av_bench": av_bench,
    }
    items = list(readers[task.reader](task, data))
    if not items:
        raise ConfigError(f"{data} holds no items (--data)")
    seen: set[str] = set()
    for i in items:
        if i.id in seen:
            raise ConfigError(f"{data}: two items have the id {i.id!r} (--data)")
        seen.add(i.id)
    return items


# ---- one function per benchmark -------------------------------------------------------------------------------------


def rows(task: Task, data: Path) -> Iterator[TaskItem]:
    for where, n, row in load_rows(data):
        yield item(task, row, n, where)


def folder(task: Task, data: Path) -> Iterator[TaskItem]:
    """A folder of pictures, one item each; or rows."""
    if not data.is_dir():
        yield from rows(task, data)
        return
    for n, path in enumerate(sorted(p for p in data.iterdir() if p.suffix.lower() in PICTURES)):
        yield item(task, {task.fields.media: path.name}, n, str(path))


def qbench_video(task: Task, data: Path) -> Iterator[TaskItem]:
    """Q-Bench-Video rows: pairs are named "A_cat_B" plus an extension once more, open questions have no key."""
    for where, n, row in load_rows(data):
        is_open = "open" in _flat(row.get("question_type", "")).lower()
        key, answers = row.get("correct_choice"), row.get("answers")
        made = item(task, {**row, "answers": None, "correct_choice": None} if is_open else row, n, where)
        if is_open:
            reference = next((x for x in (key, answers) if isinstance(x, str) and x.strip()), None)
            if reference is None and isinstance(answers, list) and len(answers) == 1:
                reference = str(answers[0])
            made = dataclasses.replace(made, reference=reference)
        media = split_pair(made.media[0])
        if len(media) == 2:
            wanted = None if is_open else direction(made.question, task.language)
            made = dataclasses.replace(made, media=media, spans=(None, None), compare=wanted)
        yield made


def av_bench(task: Task, data: Path) -> Iterator[TaskItem]:
    for b in read_bench(data):
        media = (b.media,) if b.media_b is None else (b.media, b.media_b)
        yield TaskItem(
            id=b.id,
            media=media,
            question=b.question,
            options=tuple(b.options),
            right=b.correct,
            groups={
                "type": b.question_type,
                "modality": b.modality,
                "concern": b.concern,
                "context": "given" if b.context else "none",
            },
            aspect=b.modality,
            language=b.language,
            context=b.context,
            spans=(b.time_span, b.time_span_b)[: len(media)],
            compare="better" if b.media_b is not None else None,
        )


# ---- parts ----------------------------------------------------------------------------------------------------------


def load_rows(data: Path) -> Iterator[tuple[str, int, Json]]:
    """(place for messages, number, row) of a JSON list or of JSON lines."""
    if not data.is_file():
        raise ConfigError(f"{data} is a folder; this task needs a JSON or JSONL file (--data)")
    text = data.read_text(encoding="utf-8-sig")
    try:
        if text.lstrip().startswith("["):
            found = [(f"{data}: row {n}", row) for n, row in enumerate(json.loads(text))]
        else:
            found = [(f"{data}:{k}", json.loads(line)) for k, line in enumerate(text.splitlines(), 1) if line.strip()]
    except json.JSONDecodeError as e:
        raise ConfigError(f"{data}: not JSON: {e} (--data)") from e
    for n, (where, row) in enumerate(found):
        if not isinstance(row, dict):
            raise ConfigError(f"{where}: {row!r} is not an object (--data)")
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as e:  # half a surrogate pair, which no tokenizer takes
            raise ConfigError(f"{where}: {e.object[e.start]!r} is not a character (--data)") from e
        yield where, n, row


def item(task: Task, row: Json, n: int, where: str) -> TaskItem:
    """A row as an item, by the task's field names. Raises ConfigError naming the column."""
    f = task.fields
    options: list[str] = []
    if f.options is not None and row.get(f.options) is not None:
        given = _get(row, f.options, where)
        if not isinstance(given, list) or len(given) < 2 or not all(isinstance(o, str) and o.strip() for o in given):
            raise ConfigError(f"{where}: {f.options} is {given!r}, not a list of two or more texts (--data)")
        options = [o.strip() for o in given]
        if len({o.casefold() for o in options}) < len(options):
            raise ConfigError(f"{where}: {f.options} holds an option twice: {options} (--data)")
    key = row.get(f.right) if f.right else None
    score = None
    if f.score is not None:
        try:
            score = float(_get(row, f.score, where))
        except (TypeError, ValueError) as e:
            raise ConfigError(f"{where}: {f.score} is {row[f.score]!r}, not a number (--data)") from e
    groups = {}
    for name, g in task.groups.items():
        value = _get(row, g.field, where)
        text = g.names.get(value, None) if g.names and not isinstance(value, list) else _flat(value)
        if text is None:
            raise ConfigError(f"{where}: {g.field} is {value!r}; known: {', '.join(map(str, g.names))} (--data)")
        groups[name] = text
    return TaskItem(
        id=str(_get(row, f.id, where)) if f.id else str(n),
        media=(str(_get(row, f.media, where)),),
        question=str(_get(row, f.question, where)).strip() if f.question else "",
        options=tuple(options),
        right=right_option(key, options, where) if options and key is not None else None,
        reference=str(row[f.reference]) if f.reference and row.get(f.reference) else None,
        score=score,
        groups=groups,
        aspect=task.aspect,
        language=task.language,
    )


def right_option(key: object, options: list[str], where: str) -> int:
    """Index of the right option, which is given as its text, its letter or its index. Raises ConfigError."""
    text = str(key).strip()
    if text in options:
        return options.index(text)
    folded = [o.casefold() for o in options]
    if text.casefold() in folded:
        return folded.index(text.casefold())
    letter = text.rstrip(".)").upper()
    if len(letter) == 1 and "A" <= letter <= "Z" and ord(letter) - 65 < len(options):
        return ord(letter) - 65
    if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(options):
        return key
    raise ConfigError(f"{where}: the right answer {key!r} is not among the options {options} (--data)")


def split_pair(name: str) -> tuple[str, ...]:
    """ "a.mp4_cat_b.mp4.mp4" -> ("a.mp4", "b.mp4"); any other name alone. The pair's own extension comes last."""
    first, joint, second = name.partition("_cat_")
    if not joint:
        return (name,)
    stem = Path(second).stem
    second = stem if Path(stem).suffix.lower() == Path(second).suffix.lower() != "" else second
    return (first if Path(first).suffix else first + Path(second).suffix, second)


def direction(question: str, language: str) -> Direction | None:
    """ "better" or "worse" when a question asks which clip has the better or worse quality as a whole, else None."""
    words = load_prompts("bench", language)["pair"]
    low = question.lower()
    if re.search(words["part"], low):
        return None
    better, worse = (bool(re.search(words[k], low)) for k in ("better", "worse"))
    return None if better == worse else "better" if better else "worse"


def _get(row: Json, name: str, where: str) -> Any:
    if name not in row:
        raise ConfigError(f"{where}: no {name!r}; there are {', '.join(map(str, row))} (--data)")
    return row[name]


def _flat(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)
