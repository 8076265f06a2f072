"""Is it noticed that sound and picture are out of step? Beside the checkpoint the measured offset of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from eval.questions.log import digest
from eval.stats import Number
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind
from eval.suite.schema import Line, Task
from mllm_avqa.model.prompting import load_prompts

PREDICTORS = {"score": "sync score", "answer": "answer", "answer_short": "short answer", "fact": "measured offset"}
SETS = {"records": "clips as they are", "grid": "sound moved here"}
CALM = {"clean": "false alarms, clean", "other faults": "false alarms, other faults"}
LIMITS = {"early": "50 % early (ms)", "late": "50 % late (ms)"}
CLASSES = "called right, by class of clip"


class SyncTask(Task):
    """Clips of known timing, e.g. of data_recipes/recipes/sync_test.yaml."""

    records: Path
    split: str = "test"
    clips: int | None = Field(default=None, ge=1)  # at most, evenly spread
    criterion: float = Field(default=3.5, ge=1, le=5)  # sync scores below are called out of step
    grid: int = Field(default=0, ge=0)  # this many clips in step also with their sound moved by -1000..1000 ms
    context: Literal["none", "fast", "full"] = "none"  # texts say nothing of timing


def run(task: SyncTask, bench: Bench) -> Iterator[Line]:
    words = digest(*(dict(load_prompts(name, task.language)) for name in ("questions", "tasks")))
    key = [*bench.key(task, task.records, task.split), words]
    found = bench.remember(key, lambda: _measure(task, bench), lambda r: not r["failed"])
    bench.lost |= found["failed"]
    if found["untimed"]:
        bench.notes.append(f"{found['untimed']} clips have no right time, or several faults of it, and are left out")
    command = shell(
        "sync", task.records, "--checkpoint", bench.given, "--split", task.split,
        *bench.limit(task.clips), "--lang", task.language,
        "--context", task.context, "--criterion", f"{task.criterion:g}", "--grid", task.grid,
    )  # fmt: skip
    for name in SETS:
        rows = [r for r in found["rows"] if r["set"] == name]
        classes = _classes(rows, bench.who) if name == "records" else ()
        for line in (*_detection(rows, SETS[name], bench.who), *classes):
            yield line.model_copy(update={"command": command})


def _measure(task: SyncTask, bench: Bench) -> dict[str, Any]:
    from eval.sync.run import Settings, sync

    settings = Settings(
        task.split, bench.at_most(task.clips), task.language, task.context, task.criterion, task.grid,
        bench.settings.threads,
    )  # fmt: skip
    return sync(task.records, bench.given, settings, rater=bench.rater(task.context))[0]


def _detection(rows: list[dict[str, Any]], table: str, who: str) -> Iterator[Line]:
    """Every way of asking the checkpoint, with the measured offset under it."""
    values = {p: _values([r for r in rows if r["predictor"] == p]) for p in PREDICTORS}
    counted = {r["predictor"]: r["n"] + r["in_step"] for r in rows if r["table"] == "detection"}
    for p, name in PREDICTORS.items():
        if p != "fact" and counted.get(p):
            yield Line(what=name, who=who, values=values[p], n=counted[p], table=table)
            n, fact = counted["fact"], PREDICTORS["fact"]
            yield Line(what=name, who=fact, values=values["fact"], n=n, table=table, baseline=True)


def _values(rows: list[dict[str, Any]]) -> dict[str, Number]:
    out: dict[str, Number] = {}
    for r in rows:
        if r["table"] == "detection":
            out["AUC"] = _number(r, "auc")
        elif r["table"] == "mismatch" and r["difficulty"] == "all":
            out["AUC, unrelated"] = _number(r, "auc")
        elif r["table"] == "false_alarms" and r["clips"] in CALM:
            out[CALM[r["clips"]]] = _number(r, "rate")
        elif r["table"] == "curve":
            out[LIMITS[r["side"]]] = Number(value=r["threshold"], low=r["low"], high=r["high"], note=r["note"])
    return out


def _classes(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    own = [r for r in rows if r["table"] == "classes"]
    for name in dict.fromkeys(r["class"] for r in own):
        cells = {r["predictor"]: r for r in own if r["class"] == name}
        first = next(iter(cells.values()))
        what = f"{name} ({first['zone']})" if first["zone"] and first["offset"] else name
        values = {PREDICTORS[p]: _number(r, "accuracy") for p, r in cells.items()}
        yield Line(what=what, who=who, values=values, n=first["n"], table=CLASSES)


def _number(r: dict[str, Any], name: str) -> Number:
    return Number(value=r[name], low=r[f"{name}_low"], high=r[f"{name}_high"], note=r.get("note", ""))


KIND = Kind(
    title="Sound and picture out of step; zones of ITU-R BT.1359",
    task=SyncTask,
    run=run,
    headline=(SETS["records"], PREDICTORS["score"], "AUC"),
    plain=frozenset({*CALM.values(), *LIMITS.values(), *PREDICTORS.values()}),  # who never doubts has no false alarm
    counts=frozenset(LIMITS.values()),
)
