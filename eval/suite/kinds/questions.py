"""Question benchmarks of `eval/tasks`, multiple choice, scores from words, and open answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from eval.questions.log import digest
from eval.questions.task import READOUTS, Readout, load_task, names
from eval.stats import Number
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind, nearest
from eval.suite.schema import Line, Task
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import MediaError


class QuestionsTask(Task):
    """A benchmark of `python -m eval questions`, and where its data are."""

    bench: str  # name in eval/tasks, or the path of a task file
    data: Path
    media: Path | None = None  # default: the folder of `data`
    readout: Readout = "logprob"
    shuffles: int = Field(default=1, ge=1)
    replies: Path | None = None  # of a judge, to open answers

    @field_validator("bench")
    @classmethod
    def _known(cls, name: str) -> str:
        if not name.endswith((".yaml", ".yml")) and name not in names():
            raise ValueError(f"benchmark {name!r} does not exist{nearest(name, names())}, or a YAML file")
        return name

    def resolve(self, root: Path) -> Task:
        own = {"bench": str(root / self.bench)} if self.bench.endswith((".yaml", ".yml")) else {}
        return super().resolve(root).model_copy(update=own)


def run(task: QuestionsTask, bench: Bench) -> Iterator[Line]:
    result = bench.remember(_key(task, bench), lambda: _ask(task, bench), _whole)
    for name, why in result["why"].items():
        bench.lost[name] = why
    left = {k: n for k, n in result["left_out"].items() if n}
    if left:
        bench.notes.append(f"{bench.who}: {', '.join(f'{n} {k}' for k, n in left.items())}")
    bench.notes += result["notes"]
    media = ["--media-root", task.media] if task.media is not None else []
    more = ["--readout", task.readout, "--shuffles", task.shuffles, "--context", task.context]
    limit = ["--limit", bench.settings.limit] if bench.settings.limit is not None else []
    data = ["--data", task.data, *media, "--checkpoint", bench.given]
    command = shell("questions", task.bench, *data, *more, *limit, "-o", bench.settings.out / "questions")
    yield from _accuracy(result, bench.who, command)
    for name, a in result.get("agreement", {}).items():
        numbers = {"SRCC": a["srcc"], "PLCC": a["plcc"], "RMSE": a["rmse"]}
        values = {k: Number.model_validate(v) for k, v in numbers.items()}
        yield Line(what=name, who=bench.who, values=values, n=a["n"], of=a["m"], table="scores", command=command)
    if "open" in result:
        o = result["open"]
        values = {rubric: Number(value=x["score"]) for rubric, x in o["judge"].items()}
        values |= {"empty": Number(value=o["unanswered"]), "median words": Number(value=o["median_words"])}
        yield Line(what="open answers", who=bench.who, values=values, n=o["n"], table="open", command=command)


def _ask(task: QuestionsTask, bench: Bench) -> dict[str, Any]:
    from eval.questions.judge import read_replies
    from eval.questions.run import Settings, answer_all
    from eval.questions.summary import LEFT_OUT_WORDS, summarise

    chosen = load_task(task.bench)
    s = bench.settings
    settings = Settings(
        readout=task.readout, shuffles=task.shuffles, limit=s.limit, context=task.context, threads=s.threads,
        fresh=s.fresh,
    )  # fmt: skip
    log = s.cache / "questions" / digest(bench.identity, *_version(task))
    rater = bench.rater(task.context)
    answers = answer_all(chosen, task.data, task.media, bench.given, settings, log, rater=rater)
    result = summarise(answers, settings, None if task.replies is None else read_replies(task.replies))
    why = {r["id"]: r.get("why", r["status"]) for r in answers.rows if r["status"] in ("missing", "failed")}
    return result | {"why": why, "left_out": {LEFT_OUT_WORDS[k]: n for k, n in result["left_out"].items()}}


def _version(task: QuestionsTask) -> list[object]:
    """What makes a log of answers another one's."""
    words = [dict(load_prompts("bench", x)) for x in ("en", "zh")]
    chosen = load_task(task.bench).model_dump(mode="json")
    return [chosen, words, READOUTS[task.readout], task.shuffles, task.context]


def _key(task: QuestionsTask, bench: Bench) -> list[object]:
    """Everything the result depends on: task, words, data file, and the bytes of every file beside it that is named."""
    from eval.questions.readers import read_items

    base = task.media or (task.data if task.data.is_dir() else task.data.parent)
    media = sorted({m for i in read_items(load_task(task.bench), task.data) for m in i.media})
    hashes = []
    for m in media:
        try:
            hashes.append(bench.samples.file(base / m))
        except MediaError as e:
            hashes.append(e.kind)
    files = [p for p in (task.data, task.replies) if p is not None and p.is_file()]
    data = [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
    return ["questions", *_version(task), data, media, hashes, bench.settings.limit]


def _whole(result: dict[str, Any]) -> bool:
    return not result["why"]


def _accuracy(result: dict[str, Any], who: str, command: str) -> Iterator[Line]:
    for name, v in result.get("accuracy", {}).items():
        table = "" if name == "all" else "by " + name.partition(": ")[0]
        what = name.partition(": ")[2] or name
        total = v["n"] + v["left_out"] + v["no_key"]
        ours = Number(value=v["accuracy"], low=v["low"], high=v["high"])
        values = {"accuracy": ours, "unanswered": Number(value=v["unanswered"])}
        yield Line(what=what, who=who, values=values, n=v["n"], of=total, table=table, command=command)
        if v["chance"] is not None:
            guess = {"accuracy": Number(value=v["chance"])}
            yield Line(what=what, who="chance", values=guess, n=v["n"], of=total, table=table, baseline=True)


KIND = Kind(
    title="Questions",
    task=QuestionsTask,
    run=run,
    headline=("", "all", "accuracy"),
    lower=frozenset({"unanswered", "empty"}),
    plain=frozenset({"median words"}),
    counts=frozenset({"unanswered", "empty", "median words"}),
)
