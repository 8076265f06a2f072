"""Question benchmarks of `eval/tasks`: multiple choice, scores from words, open answers, and a judge of these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import typer
from pydantic import field_validator

from eval.board.bench import Bench
from eval.judging import WithJudge
from eval.questions.task import LEFT_OUT, READOUTS, Readout, load_task, names
from eval.stats import Number
from eval.store import digest
from eval.studies import nearest
from eval.study import Heading, Line, Report, argument, command_line, option, save
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import ConfigError, MediaError


class Questions(WithJudge):
    """Ask a checkpoint the questions of a benchmark. Exit code 1: media were missing, or media or judgements failed."""

    command: ClassVar[str] = "questions"
    kind: ClassVar[str] = "questions"
    shown: ClassVar[Heading] = Heading(
        title="Questions",
        headline=("", "all", "accuracy"),
        lower=frozenset({"unanswered", "empty"}),
        plain=frozenset({"median words"}),
        counts=frozenset({"unanswered", "empty", "median words"}),
    )

    bench: str = argument(
        "qbench_a1, qbench_a2, qbench_a3, qbench_video, av_questions, or a task file (.yaml).", metavar="TASK"
    )
    output: Path | None = option(
        None, "Folder for the log, the results and judge prompts.", "--output", "-o", place="command", needed=True
    )
    data: Path = option(..., "Data file of the benchmark (.json, .jsonl); for A2 also a folder.")
    media: Path | None = option(
        None, "Folder the media paths start from; default: that of the data file.", "--media-root"
    )
    readout: Readout = option(
        "logprob",
        "logprob: of the letter, or of a whole answer without letters; mean: over an answer's tokens; "
        "generate: a written answer, read strictly.",
    )
    shuffles: int = option(1, "Orders of the options, averaged: as given, then rotated by one place each.", ge=1)
    clips: int | None = option(None, "At most this many items, evenly spread.", "--limit", ge=1)
    replies: Path | None = option(None, "A judge's replies (.jsonl with id, reply) to the prompts of an earlier run.")

    @field_validator("bench")
    @classmethod
    def _known(cls, name: str) -> str:
        if not name.endswith((".yaml", ".yml")) and name not in names():
            raise ValueError(f"benchmark {name!r} does not exist{nearest(name, names())}, or a YAML file")
        return name

    def run(self) -> dict[str, Any]:
        """The numbers; the log, the prompts for judges and the numbers are written to `output`.

        Raises ConfigError (data), CheckpointError, OutputError (log of another run).
        """
        from eval.questions.run import answer_all
        from eval.questions.summary import judge_answers, read_replies, summarise, write_prompts

        task = load_task(self.bench)
        given = read_replies(self.replies) if self.replies is not None else None
        panel = self.panel()
        if panel is not None and given is not None:
            raise ConfigError("--judge and --replies are two sources of the same judgements: give one")
        if self.output is None:
            raise ConfigError("answers are written beside the result: say where (-o)")
        answers = answer_all(task, self.data, self.media, self.opened, self.output, self)
        judgement: dict[str, Any] = {}
        if panel is not None and task.judge:
            path = self.output / f"{task.name}.judgements.jsonl"
            given, judgement = judge_answers(answers.rows, task.judge, task.language, panel, path)
        result = summarise(answers, given, self.threads) | judgement
        if task.judge:
            path = self.output / f"{task.name}.judge.jsonl"
            n = write_prompts(path, answers.rows, task.judge, task.language)
            typer.echo(f"wrote {n} judge prompts to {path}", err=True)
        save(self.output / f"{task.name}.json", json.dumps(result, ensure_ascii=False, indent=1))
        why = {r["id"]: r.get("why", r["status"]) for r in answers.rows if r["status"] in ("missing", "failed")}
        return result | {"why": why}

    def report(self, found: dict[str, Any]) -> Report:
        from eval.questions.summary import render

        data = {k: v for k, v in found.items() if k != "why"}
        told = Report(render(found), json.dumps(data, ensure_ascii=False, indent=1))
        if found["left_out"]["missing"] or found["left_out"]["failed"]:
            told.notes.append("some media were missing or failed; a further run tries them again")
        unjudged = found.get("judged_by", {}).get("failed", 0)
        if unjudged and not told.notes:
            told.notes.append(f"{unjudged} judgements failed; a further run asks for them again")
        told.partial = bool(told.notes)
        return told

    # ---- in a suite

    def resolve(self, root: Path) -> Questions:
        own = {"bench": str(root / self.bench)} if self.bench.endswith((".yaml", ".yml")) else {}
        return super().resolve(root).model_copy(update=own)

    def lines(self, bench: Bench) -> Iterator[Line]:
        own = self.on(bench, output=bench.settings.kept / "questions" / digest(bench.identity, *self._version()))
        own = own.model_copy(update={"fresh": bench.settings.fresh})
        result = bench.remember(
            self._key(bench), lambda: own.with_rater(bench.rater(self.context)).run(), lambda r: not r["why"]
        )
        bench.lost |= result["why"]
        left = {LEFT_OUT[k]: n for k, n in result["left_out"].items() if n}
        if left:
            bench.notes.append(f"{bench.who}: {', '.join(f'{n} {k}' for k, n in left.items())}")
        bench.notes += result["notes"]
        command = command_line(own.model_copy(update={"output": bench.settings.output / "questions"}), "fresh")
        for line in _lines(result, bench.who):
            yield line if line.baseline else line.model_copy(update={"command": command})

    def _version(self) -> list[object]:
        """What makes a log of answers another one's."""
        words = [dict(load_prompts("bench", x)) for x in ("en", "zh")]
        chosen = load_task(self.bench).model_dump(mode="json")
        return [chosen, words, READOUTS[self.readout], self.shuffles, self.context]

    def _key(self, bench: Bench) -> list[object]:
        """What the result depends on: task, words, data file, and the bytes of every file beside it that is named."""
        from eval.questions.readers import read_items

        base = self.media or (self.data if self.data.is_dir() else self.data.parent)
        media = sorted({m for i in read_items(load_task(self.bench), self.data) for m in i.media})
        hashes = []
        for m in media:
            try:
                hashes.append(bench.samples.file(base / m))
            except MediaError as e:
                hashes.append(e.kind)
        files = [p for p in (self.data, self.replies) if p is not None and p.is_file()]
        data = [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
        return ["questions", *self._version(), data, media, hashes, bench.at_most(self.clips)]


def _lines(result: dict[str, Any], who: str) -> Iterator[Line]:
    yield from _accuracy(result, who)
    for name, a in result.get("agreement", {}).items():
        numbers = {"SRCC": a["srcc"], "PLCC": a["plcc"], "RMSE": a["rmse"]}
        values = {k: Number.model_validate(v) for k, v in numbers.items()}
        yield Line(what=name, who=who, values=values, n=a["n"], of=a["m"], table="scores")
    if "open" in result:
        o = result["open"]
        values = {rubric: Number(value=x["score"]) for rubric, x in o["judge"].items()}
        values |= {"empty": Number(value=o["unanswered"]), "median words": Number(value=o["median_words"])}
        yield Line(what="open answers", who=who, values=values, n=o["n"], table="open")


def _accuracy(result: dict[str, Any], who: str) -> Iterator[Line]:
    for name, v in result.get("accuracy", {}).items():
        table = "" if name == "all" else "by " + name.partition(": ")[0]
        what = name.partition(": ")[2] or name
        total = v["n"] + v["left_out"] + v["no_key"]
        ours = Number(value=v["accuracy"], low=v["low"], high=v["high"])
        values = {"accuracy": ours, "unanswered": Number(value=v["unanswered"])}
        yield Line(what=what, who=who, values=values, n=v["n"], of=total, table=table)
        if v["chance"] is not None:
            guess = {"accuracy": Number(value=v["chance"])}
            yield Line(what=what, who="chance", values=guess, n=v["n"], of=total, table=table, baseline=True)
