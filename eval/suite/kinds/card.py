"""What a model card says: parts of the input taken away, independence, hostile texts, stage-1 questions, claims."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.robustness.bank import quick
from eval.stats import Number
from eval.suite.bench import Bench, shell
from eval.suite.registry import Kind
from eval.suite.schema import Line, Task

TEXTS = ("attacks", "harmless")


class CardTask(Task):
    """Held-out clips; `probes` of them get hostile texts and explanations, which cost many forwards each."""

    records: Path
    split: str = "test"
    probes: int = 40


def run(task: CardTask, bench: Bench) -> Iterator[Line]:
    key = [*bench.key(task, task.records, task.split), quick()]
    result = bench.remember(key, lambda: _measure(task, bench), lambda r: not r["records"]["failed"])
    bench.lost |= result["records"]["failed"]
    shared = result["records"]["shared_with_training"]
    if shared:
        bench.notes.append(f"{shared} contents are in the training split of the same file, too")
    limit = ["--limit", bench.settings.limit] if bench.settings.limit is not None else []
    command = shell(
        "card", task.records, "--checkpoint", bench.given, "--split", task.split, *limit, "--lang", task.language,
        "--context", task.context, "--probes", task.probes,
    )  # fmt: skip
    for made in _lines(result, task.language, bench.who):
        yield made.model_copy(update={"command": command})


def _measure(task: CardTask, bench: Bench) -> dict[str, Any]:
    from eval.measure import Settings, measure

    s = bench.settings
    settings = Settings(
        split=task.split, limit=s.limit, languages=(task.language,), context=task.context, chunk=max(2, s.chunk),
        probes=task.probes, threads=s.threads, draws=task.draws,
    )  # fmt: skip
    return measure(task.records, bench.given, settings, rater=bench.rater(task.context))


def _lines(result: dict[str, Any], language: str, who: str) -> Iterator[Line]:
    by_condition = result["aspects"][language]
    for aspect, full in by_condition["full"].items():
        values = {c: Number.model_validate(a[aspect]["srcc"]) for c, a in by_condition.items() if aspect in a}
        yield Line(what=aspect, who=who, values=values, n=full["n"], of=full["m"], table="SRCC by what is shown")
    apart = result["independence"][language]
    if "residual" in apart:
        named = {"audio - video": apart["residual"], **apart["partial"]}
        values = {k: Number.model_validate(v) for k, v in named.items()}
        values |= {f"leak {k}": Number.model_validate(v) for k, v in apart["leak"].items()}
        yield Line(what="SRCC", who=who, values=values, n=apart["n"], table="independence")
    for touched, v in result["crosstalk"][language].items():
        if not isinstance(v, dict):  # the number of clips without a partner
            continue
        changes = {k: Number(value=c["max"]) for k, c in v.items() if k.endswith("_change")}
        if changes:
            yield Line(what=touched, who=who, values=changes, n=v["n"], table="largest change of scores")
    for kind in TEXTS:
        for aspect, c in result["injection"][language].get(kind, {}).get("change", {}).items():
            values = {"mean": Number(value=c["mean"]), "max": Number(value=c["max"])}
            yield Line(what=f"{kind}, {aspect}", who=who, values=values, n=c["n"], table="change by hostile texts")
    for name, s in result["stage1"][language].items():
        if name == "unread":
            continue
        table = "stage-1 questions"
        ours = {"accuracy": Number(value=s["accuracy"], low=s["low"], high=s["high"])}
        yield Line(what=name, who=who, values=ours, n=s["n"], table=table)
        for other in ("chance", "commonest"):
            if s[other] is not None:
                guess = {"accuracy": Number(value=s[other])}
                yield Line(what=name, who=other, values=guess, n=s["n"], table=table, baseline=True)
    told = result["explanations"][language]
    if told["clips"]:
        shares = {k: Number(value=told[k]) for k in ("supported", "contradicted", "unverified", "ended")}
        yield Line(what="share of claims", who=who, values=shares, n=told["claims"], table="explanations")


KIND = Kind(
    title="Ablations and probes of the model card",
    task=CardTask,
    run=run,
    headline=("SRCC by what is shown", "overall", "full"),
    lower=frozenset({"mean", "max", "contradicted"}),
    plain=frozenset({"unverified", "audio_change", "video_change", "leak video>audio|video", "leak audio>video|audio"}),
)
