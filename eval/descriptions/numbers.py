"""Numbers of a set of descriptions, per language: claims against records, text against scores, points of a judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from eval.descriptions.texts import Description
from eval.held_out import labels_of
from eval.judging import FREE, Panel, Prompt, ask, counts, identity, points, prompt
from eval.stats import Number, average, bootstrap, content_parts, number, share, spearman
from mllm_avqa.model.claims import Claims, read_claims
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.model.truth import MEASURES, Checked, check, has_faults_listed, listed, reference
from mllm_avqa.schema.faults import fault_kinds
from mllm_avqa.schema.levels import VALUES, WORDS, word
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.rating import ASPECTS, Claim
from mllm_avqa.schema.records import Record

DRAWS = 1000
NEAR = 1.0  # grades that a level word may be off the score
TOLD = ("answered", "unanswered")  # an empty text claims nothing and misses every fault; the others are left out


@dataclass(frozen=True)
class Told:
    """A description with its record and what was read in it; checked is None when no faults are known of the record."""

    said: Description
    record: Record
    claims: Claims
    checked: Checked | None


def read_items(descriptions: Sequence[Description], records: Sequence[Record]) -> list[Told]:
    by_id = {r.id: r for r in records}
    items = []
    for d in descriptions:
        claims = read_claims(d.text, d.language)
        known = d.status in TOLD and has_faults_listed(by_id[d.id])
        items.append(Told(d, by_id[d.id], claims, check(claims, by_id[d.id]) if known else None))
    return items


def numbers(items: Sequence[Told], draws: int = DRAWS) -> dict[str, Any]:
    """Everything but the judge's points, for the descriptions of one language."""
    told = [i for i in items if i.said.status in TOLD]
    checked = [i for i in told if i.checked is not None]
    return {
        "texts": _texts(items, told),
        "with_faults_listed": len(checked),
        "claims": {m: _measure(checked, m, draws) for m in MEASURES},
        "kinds": _kinds(checked),
        "open_claims": sum(len(i.checked.open) for i in checked if i.checked),
        "contradicted": {
            "record": _by_record(checked, draws),
            "evidence": _by_evidence([(i.record, i.said.claims) for i in told], draws),
            "reference": _by_evidence([(i.record, i.said.true_claims) for i in told], draws),
        },
        "agreement": _agreement(told, draws),
    }


def micro(
    part: Sequence[float] | np.ndarray, whole: Sequence[float] | np.ndarray, groups: Sequence[str], draws: int
) -> Number:
    """A share over all clips, with its interval over contents."""
    columns = np.asarray(part, float), np.asarray(whole, float)
    if not columns[1].sum():
        return Number(note="nothing to count")
    found = Number(value=round(share(*columns), 4))
    span = bootstrap(share, columns, content_parts(groups), draws)
    if isinstance(span, str):
        found.note = span
    else:
        found.low, found.high = round(span[0], 4), round(span[1], 4)
    return found


def _texts(items: Sequence[Told], told: Sequence[Told]) -> dict[str, Any]:
    status = Counter(i.said.status for i in items)
    words = [len(i.said.text) / 2 if i.said.language == "zh" else len(i.said.text.split()) for i in told]
    return {
        "n": len(items),
        **{s: status[s] for s in ("answered", "unanswered", "failed", "missing")},
        "different": len({i.said.text for i in told}),  # one text for every clip shows here
        "median_words": median(words) if words else None,  # two characters of Chinese count as one
    }


def _measure(items: Sequence[Told], name: str, draws: int) -> dict[str, Any]:
    """Precision, recall and F1 over all claims and faults."""
    counts = np.array([i.checked.counts[name] for i in items if i.checked], float).reshape(-1, 3)
    right, claimed, true = counts.T
    groups = [i.record.group for i in items]
    return {
        "precision": micro(right, claimed, groups, draws).model_dump(),
        "recall": micro(right, true, groups, draws).model_dump(),
        "f1": micro(2 * right, claimed + true, groups, draws).model_dump(),
        "right": int(right.sum()),
        "claimed": int(claimed.sum()),
        "true": int(true.sum()),
    }


def _kinds(items: Sequence[Told]) -> dict[str, dict[str, Any]]:
    """Per kind: faults there were and were found, claims made and right. Plain words that cover several kinds count in
    the recall of the kinds, and have a line of their own for their precision."""
    true, found, claimed, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for checked in (i.checked for i in items if i.checked):
        for p in checked.pairs:
            true[p.fault.kind] += 1
            found[p.fault.kind] += 1
            claimed[p.claim.name] += 1
            right[p.claim.name] += 1
        true.update(d.kind for d in checked.missed)
        claimed.update(f.name for f in checked.wrong)
    order = [*fault_kinds(), *sorted({*true, *claimed} - set(fault_kinds()))]
    return {
        k: {
            "precision": round(right[k] / claimed[k], 4) if claimed[k] else None,
            "recall": round(found[k] / true[k], 4) if true[k] else None,
            "claimed": claimed[k],
            "true": true[k],
        }
        for k in order
        if claimed[k] or true[k]
    }


def _by_record(items: Sequence[Told], draws: int) -> dict[str, Any]:
    """Share of the statements (faults, clean sides, levels) that the record contradicts."""
    bad = [len(i.checked.contradicted) for i in items if i.checked]
    statements = [i.checked.statements for i in items if i.checked]
    share_ = micro(bad, statements, [i.record.group for i in items], draws)
    return share_.model_dump() | {"statements": int(sum(statements))}


def _by_evidence(told: Sequence[tuple[Record, list[Claim] | None]], draws: int) -> dict[str, Any]:
    """Share of the sentences that measured facts or the scores contradict (mllm_avqa/model/verdicts.py)."""
    known = [(record, claims) for record, claims in told if claims is not None]
    support = [Counter(c.support for c in claims) for _, claims in known]
    total = [sum(c.values()) for c in support]
    groups = [record.group for record, _ in known]
    out = micro([c["contradicted"] for c in support], total, groups, draws).model_dump()
    for kind in ("supported", "unverified"):
        n = sum(c[kind] for c in support)
        out[kind] = round(n / sum(total), 4) if sum(total) else None
    return out | {"sentences": sum(total), "texts": len(known)}


def _agreement(items: Sequence[Told], draws: int) -> dict[str, Any]:
    """Does the text say what the scores say? By aspect; the last level word of an aspect counts, as its conclusion."""
    out: dict[str, Any] = {}
    for aspect in ASPECTS:
        rows = []
        for i in items:
            score, said = (
                i.said.scores.get(aspect),
                [x.value for x in i.claims.levels if x.aspect == aspect and not x.denied],
            )
            if score is not None:
                rows.append((score, said[-1] if said else None, labels_of(i.record).get(aspect), i.record.group))
        if not rows:
            continue
        stated = [(s, t, y, g) for s, t, y, g in rows if t is not None]
        groups = [g for *_, g in stated]
        ones = [1.0] * len(stated)
        same = [float(t == VALUES[WORDS.index(word(s))]) for s, t, *_ in stated]
        near = [float(abs(t - s) <= NEAR) for s, t, *_ in stated]
        labelled = [(t, y, g) for _, t, y, g in stated if y is not None]
        out[aspect] = {
            "n": len(rows),
            "stated": len(stated),
            "same_level": micro(same, ones, groups, draws).model_dump(),
            "within_one": micro(near, ones, groups, draws).model_dump(),
            "srcc_score": _srcc([(t, s, g) for s, t, _, g in stated], draws),
            "srcc_label": _srcc(labelled, draws),
        }
    numbered = [(i.claims.score, i.said.scores["overall"]) for i in items if "overall" in i.said.scores]
    off = [abs(a - b) for a, b in numbered if a is not None]
    out["number"] = {"stated": len(off), "mean_error": round(float(np.mean(off)), 4) if off else None}
    return out


def _srcc(rows: Sequence[tuple[float, float, str]], draws: int) -> dict[str, Any]:
    x, y = (np.array([r[k] for r in rows], float) for k in (0, 1))
    return number(spearman, x, y, groups=[r[2] for r in rows], draws=draws).model_dump()


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


def prompts(items: Sequence[Told]) -> list[Prompt]:
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
    items: Sequence[Told], panel: Panel, path: Path, draws: int = DRAWS
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
