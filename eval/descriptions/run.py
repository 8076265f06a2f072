"""Descriptions of one checkpoint or file, measured: the result, plain rows of it, and a log of every text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import judging, machine
from eval.descriptions.judged import RUBRICS, judge_items
from eval.descriptions.numbers import DRAWS, Item, numbers, read_items
from eval.descriptions.texts import Texts, read_texts, written
from eval.descriptions.truth import MEASURES
from eval.held_out import opened
from eval.measure import Settings as Selection
from eval.measure import select
from eval.writing import write_text
from mllm_avqa.model.prompting import LANGUAGES
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record, read_records

Row = dict[str, Any]
INTERVAL = ("value", "low", "high", "note")


@dataclass(frozen=True)
class Settings:
    split: str = "test"
    limit: int | None = None
    languages: tuple[str, ...] = ()  # of the checkpoint's texts; empty: those of its card
    context: str = "fast"
    threads: int | None = None
    fresh: bool = False
    draws: int = DRAWS


def describe(
    file: Path,
    out: Path,
    settings: Settings = Settings(),
    *,
    records: Path | None = None,
    checkpoint: str = "nano",
    judge: judging.Settings | None = None,
    rater: Rater | None = None,
) -> Row:
    """Measure descriptions and write `out` (JSON); beside it <out>.texts.jsonl, .items.jsonl and .judge.jsonl.

    file: a record file whose clips the checkpoint describes; or, with `records`, descriptions by anybody. rater: the
    checkpoint's, open already, with the context of the settings. Raises ConfigError, CheckpointError, OutputError.
    """
    for x in settings.languages:
        if x not in LANGUAGES:
            raise ConfigError(f"language {x!r} is not one of {', '.join(LANGUAGES)} (--lang)")
    chosen = select(list(read_records(records or file)), Selection(split=settings.split, limit=settings.limit))
    texts = _texts(file, out, chosen, settings, records, checkpoint, rater)
    items = read_items(texts.descriptions, chosen)
    result: Row = machine.describe(settings.threads) | {
        "records": (records or file).name,
        "split": settings.split,
        "source": texts.source,
        "fingerprint": texts.fingerprint,
        "notes": texts.notes,
        "failed": {d.id: d.why for d in texts.descriptions if d.status == "failed"},
        "languages": {},
    }
    for x in dict.fromkeys(i.said.language for i in items):
        result["languages"][x] = numbers([i for i in items if i.said.language == x], settings.draws)
    points: dict[str, float] = {}
    if judge is not None:
        found, by_id = judge_items(items, judge, beside(out, "judge"), settings.draws)
        points |= by_id
        for x, judged in found.items():
            result["languages"][x]["judge"] = judged
    lines = (json.dumps(r, ensure_ascii=False) + "\n" for r in item_rows(items, points))
    write_text(beside(out, "items"), "".join(lines))
    write_text(out, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    return result


def _texts(
    file: Path,
    out: Path,
    chosen: Sequence[Record],
    settings: Settings,
    records: Path | None,
    checkpoint: str,
    rater: Rater | None,
) -> Texts:
    if records is not None:
        if len(settings.languages) > 1:
            raise ConfigError("--lang: descriptions of a file are in one language unless their rows say which")
        return read_texts(file, chosen, settings.languages[0] if settings.languages else LANGUAGES[0])
    with opened(rater, checkpoint, context=settings.context, threads=settings.threads) as rater:
        languages = settings.languages or tuple(rater.card.languages)
        return written(chosen, file.parent, rater, languages, beside(out, "texts"), fresh=settings.fresh)


def beside(out: Path, what: str) -> Path:
    """OUT.json -> OUT.<what>.jsonl"""
    return out.with_name(f"{out.stem}.{what}.jsonl")


def item_rows(items: Sequence[Item], points: dict[str, float]) -> Iterator[Row]:
    """One row per text: what it claims, and what came of every claim."""
    for i in items:
        row: Row = {"id": i.said.id, "language": i.said.language, "status": i.said.status, "text": i.said.text}
        row |= {"why": i.said.why} if i.said.why else {}
        if i.checked is not None:
            outcome = {id(f): "wrong" for f in i.checked.wrong} | {id(f): "open" for f in i.checked.open}
            row["right"] = [
                {"claim": p.claim.name, "kind": p.fault.kind, "side": p.side, "severity_off": p.severity_off}
                | {"overlap": None if p.overlap is None else round(p.overlap, 3)}
                for p in i.checked.pairs
            ]
            others = (*i.checked.wrong, *i.checked.open)
            row["other"] = [{"claim": f.name, "side": f.side, "is": outcome[id(f)]} for f in others]
            row["missed"] = [d.kind for d in i.checked.missed]
            row["contradicted"] = i.checked.contradicted
        own = {r: points[k] for r in RUBRICS if (k := f"{i.said.id}/{i.said.language}/{r}") in points}
        yield row | ({"points": own} if own else {})


def rows(result: Row) -> list[Row]:
    """The result as flat rows: source, language, group, item, metric, value, low, high, note, n."""
    return [
        {"source": result["source"], "language": x} | r
        for x, found in result["languages"].items()
        for r in _rows_of(found)
    ]


def _rows_of(found: Row) -> Iterator[Row]:
    def row(group: str, item: str, metric: str, number: Row, n: int) -> Row:
        value = {k: number.get(k) for k in INTERVAL}
        if isinstance(value["value"], float) and math.isnan(value["value"]):
            value["value"] = None
        return {"group": group, "item": item, "metric": metric} | value | {"n": n}

    for m in MEASURES:
        v = found["claims"][m]
        yield row("claims", m, "precision", v["precision"], v["claimed"])
        yield row("claims", m, "recall", v["recall"], v["true"])
        yield row("claims", m, "f1", v["f1"], v["claimed"] + v["true"])
    for kind, v in found["kinds"].items():
        yield row("kind", kind, "precision", {"value": v["precision"]}, v["claimed"])
        yield row("kind", kind, "recall", {"value": v["recall"]}, v["true"])
    bad = found["contradicted"]
    yield row("contradicted", "record", "share", bad["record"], bad["record"]["statements"])
    for item in ("evidence", "reference"):
        yield row("contradicted", item, "share", bad[item], bad[item]["sentences"])
    for aspect, v in found["agreement"].items():
        if aspect != "number":
            for metric in ("same_level", "within_one", "srcc_score", "srcc_label"):
                yield row("agreement", aspect, metric, v[metric], v["stated"])
    for rubric in RUBRICS if "judge" in found else ():
        v = found["judge"][rubric]
        yield row("judge", rubric, "points", v, v["texts"])
