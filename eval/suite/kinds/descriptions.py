"""Descriptions by a checkpoint: their claims against the known faults, their levels against scores and labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from eval.questions.log import digest
from eval.stats import Number
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind
from eval.suite.schema import Line, Task
from mllm_avqa.model.prompting import load_prompts

CLAIMS, WRONG, LEVELS = "claims against records", "contradicted", "levels against scores and labels"
TABLES = {"claims": CLAIMS, "contradicted": WRONG, "agreement": LEVELS}
METRICS = {
    "f1": "F1", "same_level": "same level", "within_one": "within one", "srcc_score": "SRCC with score",
    "srcc_label": "SRCC with label",
}  # fmt: skip


class DescriptionsTask(Task):
    """Clips with known faults. A judge is asked with `python -m eval describe --judge`."""

    records: Path
    split: str = "test"
    clips: int | None = Field(default=None, ge=1)  # at most, evenly spread


def run(task: DescriptionsTask, bench: Bench) -> Iterator[Line]:
    key = [*bench.key(task, task.records, task.split), _words(task)]
    found = bench.remember(key, lambda: _measure(task, bench), lambda r: not r["failed"])
    bench.lost |= found["failed"]
    texts = found["texts"]
    bench.notes.append(
        f"{bench.who}: {texts['different']} different texts for {texts['n']} clips, {texts['unanswered']} empty, "
        f"median {texts['median_words']} words"
    )
    command = shell(
        "describe", task.records, "--checkpoint", bench.given, "--split", task.split,
        *bench.limit(task.clips), "--lang", task.language,
        "--context", task.context, "--draws", task.draws, "-o", bench.path("descriptions", task, "json"),
    )  # fmt: skip
    for line in _lines(found["rows"], found["checked"], bench.who):
        yield line.model_copy(update={"command": command})


def _measure(task: DescriptionsTask, bench: Bench) -> dict[str, Any]:
    from eval.descriptions.report import NAMES
    from eval.descriptions.run import Settings, describe, rows

    s = bench.settings
    settings = Settings(
        split=task.split, limit=bench.at_most(task.clips), languages=(task.language,), context=task.context,
        threads=s.threads, fresh=s.fresh, draws=task.draws,
    )  # fmt: skip
    folder = s.cache / "descriptions" / digest(bench.identity, task.context, task.language, _words(task))
    rater = bench.rater(task.context)
    result = describe(task.records, folder / "describe.json", settings, checkpoint=bench.given, rater=rater)
    said = result["languages"][task.language]
    names = NAMES | {"record": "statements, by the record", "evidence": "sentences, by measured facts or scores"}
    named = [r | {"item": names.get(r["item"], r["item"])} for r in rows(result)]
    return {
        "rows": named,
        "texts": said["texts"],
        "checked": said["with_faults_listed"],
        "failed": result["failed"],
    }


def _words(task: DescriptionsTask) -> str:
    return digest(*(dict(load_prompts(name, task.language)) for name in ("claims", "questions")))


def _lines(rows: list[dict[str, Any]], checked: int, who: str) -> Iterator[Line]:
    """Rows of one group and item are a line. n: clips whose faults are known; statements; texts that state a level."""
    for group, table in TABLES.items():
        for item in dict.fromkeys(r["item"] for r in rows if r["group"] == group):
            own = {r["metric"]: r for r in rows if (r["group"], r["item"]) == (group, item)}
            values = {METRICS.get(m, m): _number(r) for m, r in own.items()}
            if group == "claims":
                values |= {"claimed": Number(value=own["precision"]["n"]), "true": Number(value=own["recall"]["n"])}
            n = checked if group == "claims" else max(r["n"] for r in own.values())
            yield Line(what=item, who=who, values=values, n=n, table=table)


def _number(r: dict[str, Any]) -> Number:
    return Number(value=r["value"], low=r["low"], high=r["high"], note=r["note"] or "")


KIND = Kind(
    title="Descriptions: what they claim, against what is known",
    task=DescriptionsTask,
    run=run,
    headline=(CLAIMS, "type of fault", "F1"),
    lower=frozenset({"share"}),
    plain=frozenset({"claimed", "true"}),
    counts=frozenset({"claimed", "true"}),
)
