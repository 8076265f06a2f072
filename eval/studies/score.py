"""Scores against labels, per aspect; beside them one modality alone, other people's predictions, and regressions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from eval.board.bench import Bench
from eval.correlation.numbers import Correlation, reasons, study
from eval.joining import ColumnNames
from eval.samples import chosen
from eval.stats import Agreement, Mapping, ModelComparison, Number, Quartiles
from eval.study import Heading, Line, Predicted, shell
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Record

ALONE = {"picture_only": "picture only", "sound_only": "sound only"}
OWN = {"video": "its video score", "audio": "its audio score"}
INDEPENDENCE = "picture and sound apart"
GAIN = "what both give over one"


class Score(Predicted):
    """Labelled clips, e.g. what `python -m data_recipes convert` writes."""

    kind: ClassVar[str] = "score"
    shown: ClassVar[Heading] = Heading(
        title="Scores against labels",
        headline=("", "overall", "SRCC"),
        lower=frozenset({"RMSE"}),
        plain=frozenset({"p"}),
        gains=frozenset({"SRCC gained"}),
    )

    records: Path
    split: str = "test"  # "all" takes every clip
    by: str | None = None  # dataset, split or group: a table of its parts
    mapping: Mapping = "logistic4"
    single: bool = True  # rate every clip with one modality alone, too
    predictions: dict[str, Path] = Field(default_factory=dict)  # other models, as files for `python -m eval correlate`
    features: bool = False  # regressions on measured facts; needs records of split "train"

    def lines(self, bench: Bench) -> Iterator[Line]:
        records = chosen(self.records, self.split, bench.settings.limit)
        ways = ("full", *ALONE) if self.single and _has_both(records) else ("full",)
        scores = bench.predict(self, records, self.records.parent, ways)
        labels = bench.labels(self, records, self.records.parent)
        full = bench.table(self, records, scores["full"])
        if full is None:
            return
        columns = ColumnNames(by=self.by)
        found = correlation(self, bench, full, labels, label_columns=columns)
        bench.notes += reasons(found)
        command = bench.command(self)
        yield from agreements(found, bench.who, command)
        yield from _parts(found, bench.who, command)
        if "overall" not in found.aspects or not _has_both(records):
            return
        for aspect, words in OWN.items():
            if aspect in found.aspects:
                own = correlation(self, bench, full, labels, score_columns=(f"overall={aspect}",))
                again = shell("correlate", full, labels, "--pred-column", f"overall={aspect}")
                yield from agreements(own, f"{bench.who}: {words}", again, bench.who)
        if found.halo is not None:
            h = found.halo
            values = {"audio - video": h.residual, "video | audio": h.video, "audio | video": h.audio}
            yield Line(what="SRCC", who=bench.who, values=values, n=h.n, table=INDEPENDENCE, command=command)
        others = {
            way: path for way in ALONE if (path := bench.table(self, records, scores.get(way, {}), way)) is not None
        }
        if others:
            both = correlation(self, bench, full, labels, list(others.values()), score_columns=("overall",))
            for way, result in zip(others, both.others.values(), strict=True):
                yield from agreements(result, f"{bench.who}: {ALONE[way]}", command, bench.who)
            for c in both.comparisons.get("overall", []):
                if c.statistic == "srcc" and c.first == both.name:
                    again = shell("correlate", full, labels, *(x for p in others.values() for x in ("--compare", p)))
                    yield _gain(c, bench.who, others, again)

    def alone(self, bench: Bench) -> Iterator[Line]:
        """Predictions of others, and regressions on measured facts."""
        records = chosen(self.records, self.split, bench.settings.limit)
        labels = bench.labels(self, records, self.records.parent)
        for name, path in self.predictions.items():
            try:
                found = correlation(self, bench, path, labels)
            except ConfigError as e:
                bench.failed[name] = str(e)
                continue
            bench.notes += [f"{name}: {n}" for n in reasons(found)]
            yield from agreements(found, name, shell("correlate", path, labels), "")
        if self.features:
            yield from _features(self, bench)


def correlation(
    task: Score, bench: Bench, given: Path, labels: Path, others: Sequence[Path] = (), **settings: Any
) -> Correlation:
    """`eval.correlation.numbers.study` of files, whose result is kept by their content."""
    files = [given, labels, *others]
    parts = [_content(p) for p in files], [p.stem for p in files], repr(settings)

    def make() -> dict[str, Any]:
        found = study(given, labels, others, mapping=task.mapping, draws=task.draws, **settings)
        return found.result.model_dump(mode="json")

    kept = bench.remember(["study", *parts, task.mapping, task.draws], make, model=False)
    return Correlation.model_validate(kept)


def _content(path: Path) -> str:
    """Of a file, or of the logs of a folder (`eval/joining/tools.yaml`)."""
    found = hashlib.sha256()
    for p in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        found.update(p.name.encode() * path.is_dir() + p.read_bytes())
    return found.hexdigest()


def _features(task: Score, bench: Bench) -> Iterator[Line]:
    from eval.measuring import measured
    from eval.studies.features import Regressions, regress
    from mllm_avqa.schema.records import read_records

    every = [r for r in read_records(task.records) if r.split in ("train", task.split)]
    base = task.records.parent

    def make() -> dict[str, object]:
        facts, failed = measured(every, base, bench.settings.kept / "facts", context=_measured_context(task))
        return regress(every, facts, failed, task.split, task.records.name, task.draws).study.model_dump(mode="json")

    key = ["features", bench.samples.file(task.records), bench.samples.keys(every, base, task.context), task.split]
    found = Regressions.model_validate(bench.remember([*key, task.draws], make, lambda r: not r["failed"]))
    bench.notes += found.notes
    bench.lost |= found.failed
    command = shell("features", task.records, "--split", task.split)
    for r in found.results:
        yield line(r.agreement, r.aspect, f"facts, {r.model}", command, "")


def _measured_context(task: Predicted) -> str:
    return "none" if task.context == "none" else "fast"


# ---- lines -----------------------------------------------------------------------------------------------------------


def agreements(found: Correlation, who: str, command: str, beside: str | None = None) -> Iterator[Line]:
    for aspect, a in found.aspects.items():
        yield line(a, aspect, who, command, beside, found.details[aspect].splits.get("srcc"))


def line(
    a: Agreement, aspect: str, who: str, command: str, beside: str | None = None, splits: Quartiles | None = None
) -> Line:
    """beside: of a baseline, the checkpoint that it belongs to, or "" for none; None: this is no baseline."""
    values = {"SRCC": a.srcc, "PLCC": a.plcc_mapped, "KRCC": a.krcc, "RMSE": a.rmse}
    if splits is not None:
        values["SRCC over splits"] = quartiles(splits)
    return Line(
        what=aspect, who=who, values=values, n=a.n, of=a.m, baseline=beside is not None, beside=beside or "",
        command=command,
    )  # fmt: skip


def quartiles(q: Quartiles) -> Number:
    """Median with the quartiles as its ends."""
    return Number(value=q.median, low=q.low, high=q.high, note=q.note)


def _parts(found: Correlation, who: str, command: str) -> Iterator[Line]:
    for aspect, detail in found.details.items():
        for p in detail.parts:
            a = p.agreement
            values = {"SRCC": a.srcc, "PLCC": a.plcc_mapped, "RMSE": a.rmse}
            what = f"{p.part}, {aspect}"
            yield Line(what=what, who=who, values=values, n=a.n, of=a.m, table="parts", command=command)


def _gain(c: ModelComparison, who: str, others: dict[str, Path], command: str) -> Line:
    way = next(w for w, path in others.items() if path.stem == c.second)
    p = Number(value=None if c.p_bootstrap_holm is None else round(c.p_bootstrap_holm, 4))
    values = {"SRCC gained": c.difference, "p": p}
    return Line(what=f"overall over {ALONE[way]}", who=who, values=values, n=c.n, table=GAIN, command=command)


def _has_both(records: list[Record]) -> bool:
    """Some clip has labels of picture and of sound."""
    return any({"video", "audio"} <= set(r.labels) for r in records)
