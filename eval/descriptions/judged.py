"""Descriptions before a judge: what is known of the clip is put beside the text; 0-2 points come back per rubric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.descriptions.numbers import DRAWS, Item
from eval.descriptions.truth import has_faults_listed, listed, reference
from eval.held_out import labels_of
from eval.judging import FREE, Panel, Prompt, ask, counts, identity, points, prompt
from eval.stats import Number, average
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.levels import word
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record

RUBRICS = ("completeness", "precision", "relevance")


def facts(record: Record, language: str) -> str:
    """Faults and levels of the record, a line each; empty when it has neither."""
    words, judge = load_prompts("questions", language), load_prompts("judge", language)
    names, labels = words["aspects"], labels_of(record)
    lines = []
    if has_faults_listed(record):
        for d in record.distortions:
            at = words["span"]["part"].format(start=f"{round(d.start, 1):g}", end=f"{round(d.end, 1):g}")
            severity, kind = words["severities"][SEVERITIES[d.level]], words["names"].get(d.kind, d.kind)
            lines.append(judge["fault"].format(aspect=names[d.modality], severity=severity, kind=kind, span=at))
        faulty = {d.modality for d in record.distortions}
        clean = [a for a in labels if a != "overall" and a not in faulty and listed(record, a)]
        lines += [judge["clean"].format(aspect=names[a]) for a in clean]
    lines += [judge["level"].format(aspect=names[a], level=word(labels[a])) for a in ASPECTS if a in labels]
    return "\n".join(lines)


def prompts(items: Sequence[Item]) -> list[Prompt]:
    """Of every written text and rubric; rubrics that need a reference or facts are left out where there are none."""
    out = []
    for i in items:
        if i.said.status != "answered":
            continue
        x = i.said.language
        known = facts(i.record, x), reference(i.record, x)
        for rubric in RUBRICS:
            if rubric in FREE or any(known):
                given = {} if rubric in FREE else {"facts": known[0], "reference": known[1]}
                out.append(prompt(f"{i.record.id}/{x}", "describe", rubric, x, text=i.said.text, **given))
    return out


def judge_items(
    items: Sequence[Item], panel: Panel, path: Path, draws: int = DRAWS
) -> tuple[dict[str, Any], Mapping[str, float]]:
    """({language: points, spread and counts}, points by "<record>/<language>/<rubric>"); `path` is the judge's log.

    An empty text has 0 points. A text without a readable judgement is left out and counted.
    """
    rows = ask(prompts(items), panel, path)
    by_id = points(rows)
    by_id |= {
        f"{i.record.id}/{i.said.language}/{rubric}": 0.0
        for i in items
        if i.said.status == "unanswered"
        for rubric in RUBRICS
    }
    out: dict[str, Any] = {}
    for x in dict.fromkeys(i.said.language for i in items):
        mine = [i for i in items if i.said.language == x]
        ids = {f"{i.record.id}/{x}" for i in mine}
        own = [r for r in rows if r["id"].rpartition("/")[0] in ids]
        out[x] = {"by": identity(own, panel, x), "replies": counts(own)}
        for rubric in RUBRICS:
            found = [(by_id[k], i.record.group) for i in mine if (k := f"{i.record.id}/{x}/{rubric}") in by_id]
            mean = Number(note="nothing judged")
            if found:
                mean = average(np.array([p for p, _ in found]), [g for _, g in found], draws)
            of_rubric = [r for r in own if r["rubric"] == rubric]
            out[x][rubric] = mean.model_dump() | {"texts": len(found), "replies": counts(of_rubric)}
    return out, by_id
