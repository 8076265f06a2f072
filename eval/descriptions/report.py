"""Numbers of descriptions as Markdown and as flat rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.descriptions.numbers import RUBRICS, Told
from eval.stats import Number
from eval.store import Json
from eval.writing import signed, table
from mllm_avqa.model.truth import MEASURES

INTERVAL = ("value", "low", "high", "note")
NAMES = {
    "type": "type of fault",
    "modality": "side (per clip)",
    "severity": "severity, within one step",
    "severity_exact": "severity, exact",
    "span": "time, overlap >= .5",
    "all": "side, severity and time at once",
}
KINDS = 20  # lines of the table of kinds


def render(result: Mapping[str, Any]) -> str:
    parts = [f"# Descriptions by {result['source']} for {result['records']} ({result['split']})"]
    for x, found in result["languages"].items():
        parts += [f"## {x}", _texts(found), _claims(found), _kinds(found), _contradicted(found), _agreement(found)]
        if "judge" in found:
            parts.append(_judge(found["judge"]))
    parts += [f"- {n}" for n in result["notes"]]
    return "\n\n".join(p for p in parts if p)


def _number(v: Mapping[str, Any]) -> str:
    return signed(Number(**{k: v[k] for k in ("value", "low", "high", "note")}), interval=True)


def _texts(found: Mapping[str, Any]) -> str:
    t = found["texts"]
    counted = ", ".join(f"{t[s]} {s}" for s in ("answered", "unanswered", "failed", "missing"))
    return (
        f"{t['n']} texts ({counted}), {t['different']} different, median {t['median_words']} words. Faults are listed "
        f"for {found['with_faults_listed']} clips; {found['open_claims']} claims concern a side whose faults nobody "
        "listed and are not counted."
    )


def _claims(found: Mapping[str, Any]) -> str:
    rows = []
    for m in MEASURES:
        v = found["claims"][m]
        numbers = [_number(v[k]) for k in ("precision", "recall", "f1")]
        rows.append([NAMES[m], *numbers, str(v["claimed"]), str(v["true"])])
    return table(["claims against records", "precision [95 % CI]", "recall", "F1", "claimed", "true"], rows)


def _kinds(found: Mapping[str, Any]) -> str:
    kinds = sorted(found["kinds"].items(), key=lambda kv: -(kv[1]["claimed"] + kv[1]["true"]))

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    rows = [[k, share(v["precision"]), share(v["recall"]), str(v["claimed"]), str(v["true"])] for k, v in kinds[:KINDS]]
    more = f"\n\n{len(kinds) - KINDS} rarer kinds are in the JSON." if len(kinds) > KINDS else ""
    return table(["kind", "precision", "recall", "claimed", "true"], rows) + more if rows else ""


def _contradicted(found: Mapping[str, Any]) -> str:
    record, evidence, reference = (found["contradicted"][k] for k in ("record", "evidence", "reference"))
    rows = [
        ["by the record", _number(record), f"{record['statements']} statements"],
        ["by measured facts or scores", _number(evidence), f"{evidence['sentences']} sentences"],
    ]
    if reference["sentences"]:  # what the check itself gets wrong
        said = f"{reference['sentences']} sentences, all true"
        rows.append(["the same of the records' own descriptions", _number(reference), said])
    return table(["contradicted", "share [95 % CI]", "of"], rows)


def _agreement(found: Mapping[str, Any]) -> str:
    rows = [
        [
            a,
            *(_number(v[k]) for k in ("same_level", "within_one", "srcc_score", "srcc_label")),
            f"{v['stated']} of {v['n']}",
        ]
        for a, v in found["agreement"].items()
        if a != "number"
    ]
    head = ["text against score", "same level", "within one grade", "SRCC with score", "SRCC with label", "stated"]
    return table(head, rows) if rows else "No scores beside the texts."


def _judge(v: Mapping[str, Any]) -> str:
    rows = []
    for rubric in RUBRICS:
        r = v[rubric]["replies"]
        agree = "–" if r["rounds_agree"] is None else f"{r['rounds_agree']:.2f}"
        rows.append(
            [rubric, _number(v[rubric]), *(str(n) for n in (v[rubric]["texts"], r["unread"], r["failed"])), agree]
        )
    by = v["by"]
    who = ", ".join(by["answered_by"]) or "nobody"
    who += f" ({', '.join(by['fingerprints'])})" if by["fingerprints"] else ""
    head = ["judge, 0-2 points", "mean [95 % CI]", "texts", "not readable", "failed", "rounds agree"]
    return table(head, rows) + f"\n\nAsked for {by['model']}, answered by {who}; {by['rounds']} rounds."


# ---- rows -----------------------------------------------------------------------------------------------------------


def item_rows(items: Sequence[Told], points: dict[str, float]) -> Iterator[Json]:
    """One row per text: what it claims, and what came of every claim."""
    for i in items:
        row: Json = {"id": i.said.id, "language": i.said.language, "status": i.said.status, "text": i.said.text}
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


def rows(result: Json) -> list[Json]:
    """The result as flat rows: source, language, group, item, metric, value, low, high, note, n."""
    return [
        {"source": result["source"], "language": x} | r
        for x, found in result["languages"].items()
        for r in _rows_of(found)
    ]


def _rows_of(found: Json) -> Iterator[Json]:
    def row(group: str, item: str, metric: str, number: Json, n: int) -> Json:
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
