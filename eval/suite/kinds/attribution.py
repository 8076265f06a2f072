"""What scores rest on: Shapley shares of modalities and inputs, and SRCC with each of them taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from eval.stats import Number
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind
from eval.suite.schema import Line, Task
from mllm_avqa.schema.rating import ASPECTS

WEIGHT, LEFT, LOST = "weight by {level}, {of}", "SRCC without it", "change of SRCC without it"


class AttributionTask(Task):
    """Held-out clips; each costs up to `budget` forwards."""

    records: Path
    split: str = "test"
    clips: int | None = Field(default=None, ge=1)  # at most, evenly spread
    by: Literal["dataset", "group", "fault", "modality"] = "dataset"
    budget: int = Field(default=256, ge=4)  # sets of inputs scored per clip


def run(task: AttributionTask, bench: Bench) -> Iterator[Line]:
    key = bench.key(task, task.records, task.split)
    found = bench.remember(key, lambda: _measure(task, bench), lambda r: not r["failed"])
    bench.lost |= found["failed"]
    if found["sampled"]:
        bench.notes.append(f"{bench.who}: shares of single inputs are estimates for {found['sampled']} clips")
    command = shell(
        "attribution", task.records, "--checkpoint", bench.given, "--split", task.split, "--by", task.by,
        *bench.limit(task.clips),
        "--lang", task.language, "--context", task.context, "--budget", task.budget, "--draws", task.draws,
    )  # fmt: skip
    for line in (*_weights(found["importance"], bench.who), *_losses(found["removed"], bench.who)):
        yield line.model_copy(update={"command": command})


def _measure(task: AttributionTask, bench: Bench) -> dict[str, Any]:
    from eval.attribution import Settings, study

    settings = Settings(
        split=task.split, limit=bench.at_most(task.clips), language=task.language, context=task.context, by=task.by,
        budget=task.budget, chunk=bench.settings.chunk, threads=bench.settings.threads, draws=task.draws,
    )  # fmt: skip
    found = study(task.records, bench.given, settings, rater=bench.rater(task.context))
    return found.model_dump(mode="json", exclude={"rows"})


def _weights(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    """Mean absolute shares, in points of 1-5; single inputs of all clips only."""
    classes = list(dict.fromkeys(r["of"] for r in rows))
    if len(classes) == 2:  # all clips, and the one class that holds them all
        classes = classes[:1]
    for of in classes:
        for level in ("modality", "input") if of == "all" else ("modality",):
            own = [r for r in rows if (r["of"], r["level"]) == (of, level)]
            table = WEIGHT.format(level=level, of=f"{of} clips" if of == "all" else of)
            for player in dict.fromkeys(r["player"] for r in own):
                cells = {r["aspect"]: r for r in own if r["player"] == player}
                values = {a: Number.model_validate(r["weight"]) for a, r in cells.items()}
                yield Line(what=player, who=who, values=values, n=max(r["n"] for r in cells.values()), table=table)


def _losses(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    everything = {r["aspect"]: r for r in rows}
    given = {a: Number.model_validate(r["srcc"]) for a, r in everything.items()}
    if given:
        n = max(r["labelled"] for r in everything.values())
        yield Line(what="(everything given)", who=who, values=given, n=n, table=LEFT)
    for table, statistic in ((LEFT, "srcc_without"), (LOST, "srcc_change")):
        for level, player in dict.fromkeys((r["level"], r["player"]) for r in rows):
            cells = {r["aspect"]: r for r in rows if (r["level"], r["player"]) == (level, player)}
            values = {a: Number.model_validate(r[statistic]) for a, r in cells.items()}
            n = max(r["labelled"] for r in cells.values())
            yield Line(what=f"{player} ({level})", who=who, values=values, n=n, table=table)


KIND = Kind(
    title="What scores rest on: Shapley shares in points, and what is lost without each input",
    task=AttributionTask,
    run=run,
    headline=(WEIGHT.format(level="input", of="all clips"), "picture", "overall"),
    plain=frozenset(ASPECTS),
)
