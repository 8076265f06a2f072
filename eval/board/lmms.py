"""The question bench as a task folder of lmms-eval, so that any model it knows can be asked the same questions.

Format: docs/guides/task_guide.md of github.com/EvolvingLMMs-Lab/lmms-eval. The words come from this project's prompts
and are written into the folder, which needs nothing of this project to run.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import typer

from eval.joining import named
from eval.questions.readers import av_bench
from eval.questions.task import TaskItem, ask, load_task
from eval.study import Command, argument, option, shown
from eval.writing import write_text
from mllm_avqa.media import MediaReader
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import ConfigError, MediaError

log = logging.getLogger(__name__)
FORM = "letter"  # for models that were not trained on the bench's own wording
HERE = Path(__file__).parent
TAIL = 0.05  # seconds by which the end of a span may miss the end of the file


def export(bench: Path, folder: Path, name: str) -> str:
    """Write NAME.yaml, utils.py and NAME.jsonl; returns how to run it. Media stay where they are.

    lmms-eval shows whole files: an item on a part of a file, or without its file, is left out and named in the log.
    Raises ConfigError for a bench that cannot be read or leaves no item, or a name that is no identifier; OutputError.
    """
    if not name.isidentifier():
        raise ConfigError(f"--name {name!r}: use letters, digits and _")
    task = load_task("av_questions").model_copy(update={"form": FORM, "plain": []})
    items = list(av_bench(task, bench))
    kept = _whole_files(items, bench.parent)
    if not kept:
        raise ConfigError(f"{bench}: none of its {len(items)} items is on whole files that are there (BENCH)")
    base = os.path.relpath(bench.resolve().parent, folder.resolve())
    rows = (document(i, ask(i, task, 1)[0].text, base) for i in kept)
    write_text(folder / f"{name}.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    words = {"name": name, "data": json.dumps(str((folder / f"{name}.jsonl").resolve())), "version": task.version}
    template = (HERE / "lmms_task.yaml.txt").read_text(encoding="utf-8")
    write_text(folder / f"{name}.yaml", template.format(**words))
    write_text(folder / "utils.py", (HERE / "lmms_utils.py").read_text(encoding="utf-8"))
    run = f"python -m lmms_eval --include_path {shown(folder)} --tasks {name} --model MODEL --batch_size 1"
    return f"{len(kept)} of {len(items)} items\n{run}"


def document(item: TaskItem, question: str, base: str) -> dict[str, Any]:
    """One row of the data file; every column has one type in all rows, which Arrow wants."""
    words = load_prompts("rating", item.language)
    quotes = [words["quote"].format(origin=k, text=v) for k, v in item.context.items()]
    texts = [" ".join([words["segments"]["text"], *quotes])] if quotes else []
    return {
        "id": item.id,
        "media": [os.path.join(base, m) for m in item.media],
        "question": "\n".join([*texts, question]),
        "options": list(item.options),
        "answer": "" if item.right is None else load_prompts("bench", item.language)["letters"][item.right],
        "type": item.groups["type"],
        "modality": item.groups["modality"],
        "language": item.language,
    }


def _whole_files(items: Sequence[TaskItem], base: Path) -> list[TaskItem]:
    reader = MediaReader()
    durations: dict[str, float | None] = {}
    try:
        for media in dict.fromkeys(m for i in items for m in i.media):
            try:
                durations[media] = reader.probe(str(base / media)).duration
            except MediaError as e:
                log.warning("%s: %s", media, e.kind)
                durations[media] = None
    finally:
        reader.close()

    def whole(media: str, span: tuple[float, float] | None) -> bool:
        length = durations[media]
        return length is not None and (span is None or (span[0] <= TAIL and span[1] >= length - TAIL))

    kept = [i for i in items if all(whole(m, s) for m, s in zip(i.media, i.spans, strict=True))]
    left = [i.id for i in items if i not in kept]
    if left:
        log.warning("left out, not a whole file that is there: %s", named(left))
    return kept


class ExportLmms(Command):
    """Write a task folder with which lmms-eval runs the question bench on any model it knows."""

    command: ClassVar[str] = "export-lmms"

    bench: Path = argument("What `data_recipes bench` writes.", metavar="BENCH.jsonl")
    output: Path = option(..., "Folder of the task, for --include_path.", "--output", "-o")
    name: str = option("mllm_avqa_bench", "Name of the task in lmms-eval.")

    def main(self) -> int:
        typer.echo(export(self.bench, self.output, self.name))
        return 0
