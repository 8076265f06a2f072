"""What must not move a score: texts that want another one, the same picture and sound in another file, batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from eval.robustness.bank import attacks, harmless
from eval.stats import Number
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind
from eval.suite.schema import Line, Task
from mllm_avqa.schema.rating import ASPECTS

Probe = Literal["injection", "signal", "batch", "options"]
TEXTS, ORDERS = "change by texts that want another score", "order of options"
LARGEST = {
    "signal": "largest change, same picture and sound in another file",
    "batch": "largest change, other batches and a second run",
}


class RobustnessTask(Task):
    """Held-out clips; each goes through every text of the bank and is written again in other ways."""

    records: Path
    split: str = "test"
    clips: int = Field(default=24, ge=1)  # at most, evenly spread
    probes: tuple[Probe, ...] = ("injection", "signal", "batch", "options")
    every_door: bool = False


def run(task: RobustnessTask, bench: Bench) -> Iterator[Line]:
    bank = [[a.text for a in attacks(task.language)], harmless(task.language)]
    key = [*bench.key(task, task.records, task.split), bank]
    found = bench.remember(key, lambda: _measure(task, bench), lambda r: not r["failed"])
    bench.lost |= found["failed"]
    command = shell(
        "robustness", task.records, "--checkpoint", bench.given, "--split", task.split,
        "--clips", bench.at_most(task.clips), "--lang", task.language, "--context", task.context,
        *(x for p in task.probes for x in ("--probe", p)), *(["--every-door"] if task.every_door else []),
    )  # fmt: skip
    rows = found["rows"]
    bench.notes += [f"{bench.who}: {r['note']}" for r in rows if r["probe"] == "options" and not r["n"]]
    for line in (*_texts(rows, bench.who), *_changes(rows, bench.who), *_orders(rows, bench.who)):
        yield line.model_copy(update={"command": command})


def _measure(task: RobustnessTask, bench: Bench) -> dict[str, Any]:
    from eval.robustness.run import Settings, robustness

    settings = Settings(
        split=task.split, clips=bench.at_most(task.clips), languages=(task.language,), context=task.context,
        every_door=task.every_door, probes=tuple(task.probes), threads=bench.settings.threads,
    )  # fmt: skip
    return robustness(task.records, bench.given, settings, rater=bench.rater(task.context))


def _texts(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    for r in (r for r in rows if r["probe"] == "injection" and r["by"] == "all"):
        values = {
            "excess": Number(value=r["excess"], low=r["low"], high=r["high"], note=r.get("note", "")),
            "mean": Number(value=r["mean"]),
            "max": Number(value=r["max"]),
            "pull": Number(value=r["pull"]),
            "harmless: mean": Number(value=r["calm_mean"]),
            "harmless: max": Number(value=r["calm_max"]),
        }
        yield Line(what=r["aspect"], who=who, values=values, n=r["n"], table=TEXTS)


def _changes(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    for probe, table in LARGEST.items():
        own = [r for r in rows if r["probe"] == probe]
        for change in dict.fromkeys(r["change"] for r in own):
            cells = {r["aspect"]: r for r in own if r["change"] == change and r["aspect"]}
            values: dict[str, Number] = {a: Number(value=cells[a]["max"]) for a in ASPECTS if a in cells}
            n = max((r["n"] for r in cells.values()), default=0)
            yield Line(what=change, who=who, values=values, n=n, table=table)


def _orders(rows: list[dict[str, Any]], who: str) -> Iterator[Line]:
    for r in (r for r in rows if r["probe"] == "options" and r["n"]):
        what, n = f"questions in {r['language']}", r["n"]
        values = {
            "same answer in every order": Number(value=r["steady"], low=r["low"], high=r["high"]),
            "accuracy": Number(value=r["accuracy"]),
            "favourite place": Number(value=r["favourite_share"]),
        }
        yield Line(what=what, who=who, values=values, n=n, table=ORDERS)
        chance = {"accuracy": Number(value=r["chance"])}
        yield Line(what=what, who="chance", values=chance, n=n, table=ORDERS, baseline=True)


KIND = Kind(
    title="Robustness: what must not move a score",
    task=RobustnessTask,
    run=run,
    headline=(TEXTS, "overall", "excess"),
    lower=frozenset({"excess", "mean", "max", *ASPECTS}),
    plain=frozenset({"pull", "harmless: mean", "harmless: max", "favourite place"}),
)
