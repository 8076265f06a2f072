"""Descriptions of clips: their claims against records, their levels against scores and labels, points of a judge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval import machine
from eval.board.bench import Bench
from eval.judging import WithJudge
from eval.samples import chosen
from eval.stats import Number
from eval.store import Json, digest
from eval.study import FEWER, Heading, Line, Recorded, Report, argument, command_line, option
from eval.writing import write_text
from mllm_avqa.model.prompting import LANGUAGES, load_prompts
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

if TYPE_CHECKING:
    from eval.descriptions.texts import Texts

CLAIMS, WRONG, LEVELS = "claims against records", "contradicted", "levels against scores and labels"
TABLES = {"claims": CLAIMS, "contradicted": WRONG, "agreement": LEVELS}
METRICS = {
    "f1": "F1", "same_level": "same level", "within_one": "within one", "srcc_score": "SRCC with score",
    "srcc_label": "SRCC with label",
}  # fmt: skip


class Describe(Recorded, WithJudge):
    """Measure descriptions of clips: claims against records, text against score, and points of a judge.

    Can be stopped and called again. Exit code 1: some clips or judgements failed; the next call tries them again.
    """

    command: ClassVar[str] = "describe"
    kind: ClassVar[str] = "descriptions"
    shown: ClassVar[Heading] = Heading(
        title="Descriptions: what they claim, against what is known",
        headline=(CLAIMS, "type of fault", "F1"),
        lower=frozenset({"share"}),
        plain=frozenset({"claimed", "true"}),
        counts=frozenset({"claimed", "true"}),
    )

    records: Path = argument(
        "Record file (.jsonl) whose clips are described; with --records: descriptions.", metavar="FILE"
    )
    output: Path | None = option(
        None, "OUT.json; logs of every text are written beside it.", "--output", "-o", place="command", needed=True
    )
    belonging: Path | None = option(
        None, "Record file that the descriptions in FILE (of `score --explain`, or id and text) belong to.",
        "--records", place="command",
    )  # fmt: skip
    clips: int | None = option(None, FEWER, "--limit", ge=1)
    draws: int = option(1000, "Draws of the bootstrap.", ge=100)

    def run(self) -> Json:
        """Measure descriptions and write `output` (JSON); beside it OUT.texts.jsonl, .items.jsonl and .judge.jsonl.

        Raises ConfigError, CheckpointError, OutputError.
        """
        from eval.descriptions.numbers import judge_items, numbers, read_items
        from eval.descriptions.report import item_rows

        panel = self.panel()
        source = self.belonging or self.records
        records = chosen(source, self.split, self.clips)
        texts = self._texts(records)
        items = read_items(texts.descriptions, records)
        result: Json = machine.describe(self.threads) | {
            "records": source.name,
            "split": self.split,
            "source": texts.source,
            "fingerprint": texts.fingerprint,
            "notes": texts.notes,
            "failed": {d.id: d.why for d in texts.descriptions if d.status == "failed"},
            "languages": {},
        }
        for x in dict.fromkeys(i.said.language for i in items):
            result["languages"][x] = numbers([i for i in items if i.said.language == x], self.draws)
        points: dict[str, float] = {}
        if panel is not None:
            found, by_id = judge_items(items, panel, self._beside("judge"), self.draws)
            points |= by_id
            for x, judged in found.items():
                result["languages"][x]["judge"] = judged
        lines = (json.dumps(r, ensure_ascii=False) + "\n" for r in item_rows(items, points))
        write_text(self._beside("items"), "".join(lines))
        if self.output is not None:
            write_text(self.output, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
        return result

    def _texts(self, records: Sequence[Record]) -> Texts:
        from eval.descriptions.texts import read_texts, written

        if self.belonging is not None:
            if len(self.lang) > 1:
                raise ConfigError("--lang: descriptions of a file are in one language unless their rows say which")
            return read_texts(self.records, records, self.lang[0] if self.lang else LANGUAGES[0])
        with self.opened() as rater:
            languages: tuple[str, ...] = self.lang or tuple(rater.card.languages)
            base, path = self.records.parent, self._beside("texts")
            return written(records, base, rater, languages, path, fresh=self.fresh)

    def _beside(self, what: str) -> Path:
        """OUT.json -> OUT.<what>.jsonl"""
        if self.output is None:
            raise ConfigError("descriptions are written beside the result: say where (-o)")
        return self.output.with_name(f"{self.output.stem}.{what}.jsonl")

    def report(self, found: Json) -> Report:
        from eval.descriptions.report import render

        told = Report(render(found), json.dumps(found, ensure_ascii=False, indent=1))
        by_language = found["languages"].values()
        failed = sum(v["texts"]["failed"] for v in by_language)
        unjudged = sum(v["judge"]["replies"]["failed"] for v in by_language if "judge" in v)
        if failed or unjudged:
            told.partial = True
            told.notes.append(
                f"{failed} descriptions and {unjudged} judgements failed; a further call tries them again"
            )
        return told

    def lines(self, bench: Bench) -> Iterator[Line]:
        words = digest(*(dict(load_prompts(name, self.language)) for name in ("claims", "questions")))
        folder = bench.settings.kept / "descriptions" / digest(bench.identity, self.context, self.language, words)
        own = self.on(bench, output=folder / "describe.json", fresh=bench.settings.fresh)
        found = bench.measured(own, _measured, words)
        texts = found["texts"]
        bench.notes.append(
            f"{bench.who}: {texts['different']} different texts for {texts['n']} clips, {texts['unanswered']} empty, "
            f"median {texts['median_words']} words"
        )
        command = command_line(own.model_copy(update={"output": bench.path("descriptions", self, "json")}))
        for line in _lines(found["rows"], found["checked"], bench.who):
            yield line.model_copy(update={"command": command})


def _measured(study: Describe) -> Json:
    """What a board keeps."""
    from eval.descriptions.report import NAMES, rows

    result = study.run()
    said = result["languages"][study.language]
    names = NAMES | {"record": "statements, by the record", "evidence": "sentences, by measured facts or scores"}
    named = [r | {"item": names.get(r["item"], r["item"])} for r in rows(result)]
    texts, checked = said["texts"], said["with_faults_listed"]
    return {"rows": named, "texts": texts, "checked": checked, "failed": result["failed"]}


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
