"""Everything that a model card claims, in one pass over held-out clips through the corridor that ratings use."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import typer

from eval import machine
from eval.board.bench import Bench
from eval.robustness.bank import quick
from eval.samples import select, spread
from eval.stats import Number, agreement
from eval.study import FEWER, Heading, Line, Recorded, Report, command_line, option, save
from mllm_avqa.schema.records import Record, read_records

if TYPE_CHECKING:
    from eval.held_out import HeldOut
    from mllm_avqa.rater import Rater

log = logging.getLogger(__name__)
TEXTS = ("attacks", "harmless")


class CardStudy(Recorded):
    """Measure a checkpoint on held-out sources: everything its model card claims."""

    command: ClassVar[str] = "card"
    kind: ClassVar[str] = "card"
    shown: ClassVar[Heading] = Heading(
        title="Ablations and probes of the model card",
        headline=("SRCC by what is shown", "overall", "full"),
        lower=frozenset({"mean", "max", "contradicted", "withdrawn"}),
        plain=frozenset(
            {"unverified", "audio_change", "video_change", "leak video>audio|video", "leak audio>video|audio"}
        ),
    )

    clips: int | None = option(None, FEWER, "--limit", ge=1)
    chunk: int = option(8, "Clips held in memory at once.", ge=2, place="command")
    probes: int = option(40, "Clips for injections, which cost many forwards each.", ge=0)
    told: int = option(40, "Clips that are explained, and the text checked.", ge=0)
    output: Path | None = option(None, "OUT.json; default: stdout.", "--output", "-o", place="command")
    write_card: bool = option(
        False, "Put the results into avqa.yaml and MODEL_CARD.md of the checkpoint.", place="command"
    )

    def run(self) -> dict[str, Any]:
        """Raises ConfigError for records without such a split, CheckpointError for the checkpoint."""
        from eval.held_out import CONDITIONS, labels_of
        from eval.probes import independence

        every = list(read_records(self.records))
        records = select(every, self.split, self.clips)
        with self.opened() as rater:
            languages: tuple[str, ...] = self.lang or tuple(rater.card.languages)
            begin = time.perf_counter()
            state = _pass(records, every, self.records.parent, rater, languages, self)
        log.info("measured %d of %d clips", len(records) - len(state.failures), len(records))
        results: dict[str, Any] = machine.describe() | {
            "checkpoint": rater.card.name,
            "fingerprint": rater.fingerprint,
            "records": _origin(self.records, every, records, state.failures, self),
            "context": self.context,
            "seconds": {"all": round(time.perf_counter() - begin, 1), **state.mean_seconds()},
            "aspects": {},
            "independence": {},
        }
        for language in languages:
            results["aspects"][language] = {
                name: _agreements(records, state.scores[language, name], self.draws) for name in CONDITIONS
            }
            full = state.scores[language, "full"]
            rows = [(full[r.id], labels_of(r), r.group) for r in records if r.id in full]
            results["independence"][language] = independence(rows)
        for name in ("crosstalk", "injection", "stage1", "explanations"):
            results[name] = {language: getattr(state, name)[language].report() for language in languages}
        results["baselines"] = {
            name: {a: found.model_dump(exclude_defaults=True) for a, found in by_aspect.items()}
            for name, by_aspect in state.baselines.report(records, self.draws).items()
        }
        return results

    def report(self, found: dict[str, Any]) -> Report:
        from eval.model_card import compact, write

        named = self.model_copy(
            update={
                "records": Path(self.records.name), "checkpoint": Path(self.checkpoint).name, "output": None,
            }
        )  # fmt: skip
        found["command"] = command_line(named)
        if self.write_card:
            typer.echo(f"wrote {write(self.checkpoint, found)}", err=True)
        text = json.dumps(found, ensure_ascii=False, indent=1)
        if self.output is not None:
            save(self.output, text)
        return Report(text if self.output is None else json.dumps(compact(found), ensure_ascii=False), text)

    def lines(self, bench: Bench) -> Iterator[Line]:
        own = self.on(bench)
        key = [*bench.key(self, self.records, self.split), quick()]
        result = bench.remember(
            key, lambda: own.with_rater(bench.rater(self.context)).run(), lambda r: not r["records"]["failed"]
        )
        bench.lost |= result["records"]["failed"]
        shared = result["records"]["shared_with_training"]
        if shared:
            bench.notes.append(f"{shared} contents are in the training split of the same file, too")
        for made in _lines(result, self.language, bench.who):
            yield made.model_copy(update={"command": command_line(own)})


class _State:
    """What is kept of the clips: numbers only."""

    def __init__(self, every: Sequence[Record], languages: Sequence[str]) -> None:
        from eval.baselines import CardBaselines
        from eval.held_out import CONDITIONS
        from eval.probes import CrossTalk, Explanations, FewTexts, StageOne

        self.baselines = CardBaselines()
        self.scores: dict[tuple[str, str], dict[str, dict[str, float]]] = {
            (language, name): {} for language in languages for name in CONDITIONS
        }
        self.crosstalk = {x: CrossTalk() for x in languages}
        self.injection = {x: FewTexts() for x in languages}
        self.stage1 = {x: StageOne(every) for x in languages}
        self.explanations = {x: Explanations() for x in languages}
        self.failures: dict[str, str] = {}
        self._seconds: Counter[str] = Counter()
        self._windows = 0

    def count_seconds(self, chunk: Sequence[HeldOut]) -> None:
        for p in (p for c in chunk for p in c.windows):
            self._seconds.update(p.seconds)
            self._windows += 1

    def mean_seconds(self) -> dict[str, float]:
        """Wall seconds per window and room."""
        return {k: round(v / max(1, self._windows), 4) for k, v in self._seconds.items()}


def _pass(
    records: list[Record],
    every: Sequence[Record],
    base: Path,
    rater: Rater,
    languages: Sequence[str],
    study: CardStudy,
) -> _State:
    from eval.held_out import CONDITIONS, chunks, clip_scores

    state = _State(every, languages)
    probed, told = ({r.id for r in spread(records, n)} if n else set() for n in (study.probes, study.told))
    for chunk in chunks(records, base, rater, study.chunk, state.failures):
        state.count_seconds(chunk)
        for clip in chunk:
            state.baselines.add(rater, clip)
        for language in languages:
            for name, condition in CONDITIONS.items():
                for clip, scores in zip(chunk, clip_scores(rater, chunk, language, condition), strict=True):
                    state.scores[language, name][clip.record.id] = {a: s.score for a, s in scores.items()}
            state.crosstalk[language].add(rater, chunk, language)
            for clip in chunk:
                state.stage1[language].add(rater, clip, language)
                if clip.record.id in probed:
                    state.injection[language].add(rater, clip, language)
                if clip.record.id in told:
                    state.explanations[language].add(rater, clip, language)
        rater.corridor.forget()
    return state


def _agreements(records: list[Record], scores: dict[str, dict[str, float]], draws: int) -> dict[str, Any]:
    from eval.held_out import labels_of

    out: dict[str, Any] = {}
    for aspect in dict.fromkeys(a for r in records for a in r.labels):
        labelled = [r for r in records if aspect in r.labels]
        scored = [r for r in labelled if aspect in scores.get(r.id, {})]
        out[aspect] = agreement(
            [scores[r.id][aspect] for r in scored],
            [labels_of(r)[aspect] for r in scored],
            groups=[r.group for r in scored],
            total=len(labelled),
            draws=draws,
        ).model_dump(exclude_defaults=True)
    return out


def _origin(
    path: Path, every: list[Record], records: list[Record], failures: dict[str, str], study: CardStudy
) -> dict[str, Any]:
    """Where the numbers come from: file, split, contents, licences, and what could not be used."""

    def contents(rs: list[Record]) -> set[str]:
        return {part for r in rs for part in r.group.split("+")}

    licences = Counter(part.strip() for r in every for part in (r.licence or "not stated").split(";"))
    measured, used = {r.id for r in records}, contents(records)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        "split": study.split,
        "datasets": sorted({r.dataset for r in records}),
        "clips": len(records),
        "contents": len(used),
        "shared_with_training": len(used & contents([r for r in every if r.split == "train" and r.id not in measured])),
        "pseudo_labels": all(lb.pseudo for r in records for lb in r.labels.values()),
        "failed": failures,
        "splits": dict(Counter(r.split or "none" for r in every)),
        "licences": dict(licences.most_common()),
    }


def _lines(result: dict[str, Any], language: str, who: str) -> Iterator[Line]:
    from eval.baselines import ON_TOWERS

    by_condition = result["aspects"][language]
    for aspect, full in by_condition["full"].items():
        values = {c: Number.model_validate(a[aspect]["srcc"]) for c, a in by_condition.items() if aspect in a}
        yield Line(what=aspect, who=who, values=values, n=full["n"], of=full["m"], table="SRCC by what is shown")
        for name, found in ((name, a[aspect]) for name, a in result["baselines"].items() if aspect in a):
            values, n, m = {"full": Number.model_validate(found["srcc"])}, found["n"], found["m"]
            made = Line(what=aspect, who=name, values=values, n=n, of=m, table="SRCC by what is shown", baseline=True)
            yield made.model_copy(update={"beside": who}) if name == ON_TOWERS else made
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
        shares = {k: Number(value=told[k]) for k in ("supported", "contradicted", "unverified", "withdrawn", "ended")}
        yield Line(what="share of claims", who=who, values=shares, n=told["claims"], table="explanations")
