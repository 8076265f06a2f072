"""Is it noticed that sound and picture are out of step? Beside the checkpoint the measured offset of both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval import machine
from eval.board.bench import Bench
from eval.samples import chosen, spread
from eval.stats import Number
from eval.store import digest
from eval.study import FEWER, Context, Heading, Language, Line, Recorded, Report, argument, command_line, option, save
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

if TYPE_CHECKING:
    from eval.sync.read import Reading
    from mllm_avqa.rater import Rater

PREDICTORS = {"score": "sync score", "answer": "answer", "answer_short": "short answer", "fact": "measured offset"}
SETS = {"records": "clips as they are", "grid": "sound moved here"}
CALM = {"clean": "false alarms, clean", "other faults": "false alarms, other faults"}
LIMITS = {"early": "50 % early (ms)", "late": "50 % late (ms)"}
CLASSES = "called right, by class of clip"


@dataclass
class Readings:
    """By where the clips come from: "records" as they are, "grid" moved here. Other clips are counted."""

    sets: dict[str, list[Reading]]
    failed: dict[str, str]
    untimed: int  # clips whose sound has no right time, or with several faults of timing


class Sync(Recorded):
    """Accuracy per offset class, detection thresholds beside ITU-R BT.1359, false alarms, mismatched sound.

    Prints Markdown. Exit code 1: some clips could not be read; they are named.
    """

    command: ClassVar[str] = "sync"
    kind: ClassVar[str] = "sync"
    shown: ClassVar[Heading] = Heading(
        title="Sound and picture out of step; zones of ITU-R BT.1359",
        headline=(SETS["records"], PREDICTORS["score"], "AUC"),
        # who never doubts has no false alarm
        plain=frozenset({*CALM.values(), *LIMITS.values(), *PREDICTORS.values()}),
        counts=frozenset(LIMITS.values()),
    )

    records: Path = argument("Record file (.jsonl), e.g. of data_recipes/recipes/sync_test.yaml.")
    clips: int | None = option(None, FEWER, "--limit", ge=1)
    lang: tuple[Language, ...] = option(
        (), "Language of the prompts; default: the first of the checkpoint.", place="command", max_length=1
    )
    context: Context = option("none", "Text to look for; it says nothing of timing.")
    criterion: float = option(3.5, "Sync scores below this are called out of step.", ge=1, le=5)
    grid: int = option(0, "Read this many clips in step also with their sound moved by -1000..1000 ms.", ge=0)
    html: Path | None = option(None, "OUT.html: detection over the offset as a figure.", place="command")
    output: Path | None = option(None, "OUT.json: the rows, for further use.", "--output", "-o", place="command")

    def run(self) -> tuple[dict[str, Any], Readings]:
        """Results with their origin, and the readings they come from. Raises ConfigError (split), CheckpointError."""
        from eval.sync.rows import sync_tables

        records = chosen(self.records, self.split, None)
        with self.opened() as rater:
            found = self.readings(rater, records, self.records.parent)
        told = {name: readings for name, readings in found.sets.items() if readings}
        return machine.describe() | {
            "checkpoint": rater.card.name,
            "fingerprint": rater.fingerprint,
            "records": self.records.name,
            "split": self.split,
            "clips": {name: len(readings) for name, readings in found.sets.items()},
            "contents": {name: len({p for r in rs for p in r.group.split("+")}) for name, rs in found.sets.items()},
            "untimed": found.untimed,
            "criterion": self.criterion,
            "language": self.lang[0] if self.lang else rater.card.languages[0],
            "rows": [{"set": name} | row for name, readings in told.items() for row in sync_tables(readings)],
            "failed": found.failed,
        }, found

    def readings(self, rater: Rater, records: Sequence[Record], base: Path) -> Readings:
        """What the checkpoint says of every clip of known timing. base: folder that media paths start from.

        Raises ConfigError when there is no such clip.
        """
        from eval.held_out import chunks
        from eval.sync.read import grid_readings, read
        from eval.sync.truth import truth_of

        language = self.lang[0] if self.lang else rater.card.languages[0]
        truths = {r.id: t for r in records if (t := truth_of(r)) is not None}
        timed = [r for r in records if r.id in truths]
        if not timed:
            raise ConfigError(f"none of {len(records)} records has a label or a fault of sync (RECORDS, --split)")
        picked = timed if self.clips is None else spread(timed, self.clips)
        failed = dict[str, str]()
        out: list[Reading] = []
        for chunk in chunks(picked, base, rater, self.chunk, failed):
            for clip in chunk:
                out.append(read(rater, clip, truths[clip.record.id], language, self.criterion))
            rater.corridor.forget()
        calm = [r for r in picked if truths[r.id].kind == "in_step" and r.id not in failed]
        calm.sort(key=lambda r: not truths[r.id].clean)  # stable: those without any fault first
        best = spread([r for r in calm if truths[r.id].clean] or calm, self.grid)
        moved = grid_readings(rater, best, base, language, self.criterion, failed)
        return Readings({"records": out, "grid": moved}, failed, len(records) - len(timed))

    def report(self, found: tuple[dict[str, Any], Readings]) -> Report:
        from eval.sync.report import markdown, write_html

        result, readings = found
        data = json.dumps(result, ensure_ascii=False, indent=1)
        if self.output is not None:
            save(self.output, data)
        if self.html is not None:
            write_html(self.html, readings.sets, f"{result['checkpoint']} on {self.records.name}")
        return Report(markdown(result), data, partial=bool(result["failed"]))

    def lines(self, bench: Bench) -> Iterator[Line]:
        own = self.on(bench)
        words = digest(*(dict(load_prompts(name, self.language)) for name in ("questions", "tasks")))
        found = bench.measured(own, lambda s: s.run()[0], words)
        if found["untimed"]:
            bench.notes.append(
                f"{found['untimed']} clips have no right time, or several faults of it, and are left out"
            )
        for name in SETS:
            rows = [r for r in found["rows"] if r["set"] == name]
            classes = _classes(rows, bench.who) if name == "records" else ()
            for line in (*_detection(rows, SETS[name], bench.who), *classes):
                yield line.model_copy(update={"command": command_line(own)})


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
