"""A checkpoint's intervals: rate the clips of two splits, take the widths from one, test them on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import typer
from pydantic import model_validator

from eval.board.bench import Bench, ScoresById
from eval.calibration import AspectCalibration, Calibrated, Judged, aspect_calibration, markdown
from eval.samples import chosen
from eval.stats import Number, content_parts
from eval.study import LANG, Heading, Language, Line, Rated, Report, argument, command_line, option
from mllm_avqa.schema.card import Card, FindingRules
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS
from mllm_avqa.schema.records import Record, read_records

if TYPE_CHECKING:
    from eval.finding_rules import Listed
    from mllm_avqa.rater import Rater

CONSTANT = "one width for all clips"


class Calibrate(Rated):
    """Conformal intervals of the scores, and the calibration error of the level probabilities.

    Exits with 1 when clips could not be rated; they are left out and named.
    """

    command: ClassVar[str] = "calibrate"
    kind: ClassVar[str] = "calibration"
    shown: ClassVar[Heading] = Heading(
        title="Calibration",
        headline=("", "overall", "width"),
        lower=frozenset({"width", "ECE", "ECE, all levels"}),
        plain=frozenset({"coverage"}),
    )

    records: Path = argument("Record file (.jsonl) with clips of both splits.")
    split: str = option("val", "Split that the widths are taken from; not the training split.")
    lang: tuple[Language, ...] = option((), LANG, place="command")
    test: str = option("test", "Split that coverage and width are measured on.")
    coverage: float = option(0.9, "Share of labels an interval shall hold, 0-1.", gt=0, lt=1)
    draws: int = option(1000, "Draws of the bootstrap.", ge=100)
    write_card: bool = option(
        False, "Put the intervals into avqa.yaml (ratings tell them) and MODEL_CARD.md.", place="command"
    )

    @model_validator(mode="after")
    def _apart(self) -> Calibrate:
        if self.split == self.test:
            raise ValueError(f"--split {self.split} and --test {self.test}: clips that calibrate cannot test as well")
        return self

    def run(self) -> Calibrated:
        """Rate the clips of both splits and calibrate every aspect that has labels in both.

        Raises ConfigError for empty splits, CheckpointError for the checkpoint.
        """
        every = list(read_records(self.records))
        sides = {s: [r for r in every if r.split == s and r.labels] for s in (self.split, self.test)}
        for flag, s in (("--split", self.split), ("--test", self.test)):
            if not sides[s]:
                there = ", ".join(sorted({r.split or "none" for r in every})) or "no records at all"
                raise ConfigError(f"no labelled record of split {s!r} ({flag}); there are: {there}")
        both = [r for side in sides.values() for r in side]
        with self.opened() as rater:
            listed: dict[str, list[Listed]] = {}
            found, failed = _scores(both, self.records.parent, rater, self.lang, self.chunk, listed)
            rules = _finding_rules(sides, listed) if rater.card.lists_faults else None
        known = [a for a in ASPECTS if a in rater.card.aspects]
        return Calibrated(
            checkpoint=rater.card.name,
            weights=rater.weights,
            coverage=self.coverage,
            records=_origin(self.records, sides, self.context),
            aspects=[a for x, scores in found.items() for a in self._aspects([*sides.values()], scores, x, known)],
            failed=failed,
            notes=_shared(every, self.split, self.test),
            findings=rules,
        )

    def _aspects(
        self, sides: Sequence[Sequence[Record]], scores: ScoresById, language: str, aspects: Sequence[str] = ASPECTS
    ) -> Iterator[AspectCalibration]:
        """sides: the clips that calibrate, and those that test."""
        for aspect in aspects:
            one, other = (
                Judged.of(
                    [(r, scores[r.id][aspect]) for r in side if aspect in r.labels and aspect in scores.get(r.id, {})],
                    aspect,
                )
                for side in sides
            )
            if len(one.label) or len(other.label):
                yield aspect_calibration(one, other, self.coverage, aspect, language, self.draws)

    def report(self, found: Calibrated) -> Report:
        if self.write_card:
            typer.echo(f"wrote the intervals into {write(self.checkpoint, found).name}/avqa.yaml", err=True)
        notes = [*found.notes, *(a.note for a in found.aspects if a.note)]
        return Report(markdown(found), found.model_dump_json(indent=2), notes, found.failed)

    def lines(self, bench: Bench) -> Iterator[Line]:
        sides = [chosen(self.records, s, bench.settings.limit) for s in (self.split, self.test)]
        scores = bench.predict(self, [r for side in sides for r in side], self.records.parent)["full"]
        command = command_line(self.on(bench))
        for found in self._aspects(sides, scores, self.language):
            if found.note:
                bench.notes.append(f"{bench.who}: {found.note}")
            total = sum(found.aspect in r.labels for r in sides[1])
            yield from _lines(found, bench.who, command, total)


def write(checkpoint: str, found: Calibrated) -> Path:
    """Put the intervals into avqa.yaml, and into MODEL_CARD.md where there is one; returns the folder of both.

    Raises ConfigError when there are none.
    """
    from eval.model_card import FILE, calibration_section, put
    from mllm_avqa.model.checkpoint import resolve_checkpoint

    directory = resolve_checkpoint(checkpoint)
    card = Card.load(directory)
    card.calibration = found.calibration()
    card.findings = found.findings or card.findings
    card.save(directory)
    put(directory / FILE, calibration_section(card.calibration, found.weights))
    return directory


def _scores(
    records: list[Record],
    base: Path,
    rater: Rater,
    languages: Sequence[str],
    chunk: int,
    listed: dict[str, list[Listed]],
) -> tuple[dict[str, ScoresById], dict[str, str]]:
    """ScoresById by language, record and aspect, and why clips have none. listed: gets what is said of their faults."""
    from eval.finding_rules import listing
    from eval.held_out import chunks, clip_scores

    failed: dict[str, str] = {}
    out: dict[str, ScoresById] = {x: {} for x in languages or rater.card.languages}
    for part in chunks(records, base, rater, chunk, failed):
        for language, scores in out.items():
            scores |= {c.record.id: s for c, s in zip(part, clip_scores(rater, part, language), strict=True)}
            if rater.card.lists_faults:
                kinds = rater.card.findings.kinds or sorted({d.kind for r in records for d in r.distortions})
                for c in part:
                    listed.setdefault(c.record.id, []).extend(listing(rater, c, language, kinds))
        rater.corridor.forget()
    return out, failed


def _finding_rules(
    sides: Mapping[str, Sequence[Record]], listed: Mapping[str, Sequence[Listed]]
) -> FindingRules | None:
    """Rules from the first split, with what they are worth on the second."""
    from eval.finding_rules import fitted, numbers

    one, other = ([s for r in rs for s in listed.get(r.id, ())] for rs in sides.values())
    if not any(s.true for s in one):
        return None
    rules = fitted(one)
    tested: dict[str, object] = {"calibrated": numbers(one, rules)}
    if other:
        tested["test"] = numbers(other, rules)
    return rules.model_copy(update={"measured": tested})


def _origin(path: Path, sides: dict[str, list[Record]], context: str) -> dict[str, object]:
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        **dict(zip(("split", "test"), sides, strict=True)),
        "context": context,
        "clips": {s: len(rs) for s, rs in sides.items()},
        "pseudo_labels": all(lb.pseudo for rs in sides.values() for r in rs for lb in r.labels.values()),
    }


def _shared(every: Sequence[Record], split: str, test: str) -> list[str]:
    """Contents on two sides make intervals look better than they are."""

    def contents(name: str) -> set[str]:
        return {p for g in content_parts([r.group for r in every if r.split == name]) for p in g}

    pairs = [(split, test), ("train", split), ("train", test)]
    return [
        f"{n} contents are in both {a} and {b}: the intervals are too narrow for new contents"
        for a, b in pairs
        if a != b and (n := len(contents(a) & contents(b)))
    ]


def _lines(a: AspectCalibration, who: str, command: str, total: int) -> Iterator[Line]:
    numbers = {"coverage": a.coverage, "width": Number(value=a.width)}
    errors = {"ECE": Number(value=a.ece), "ECE, all levels": Number(value=a.ece_levels)}
    yield Line(what=a.aspect, who=who, values=numbers | errors, n=a.test, of=total, command=command)
    if a.constant_width is not None:
        same = {"coverage": Number(value=a.constant_coverage), "width": Number(value=a.constant_width)}
        yield Line(
            what=a.aspect, who=f"{who}: {CONSTANT}", values=same, n=a.test, baseline=True, beside=who, command=command
        )  # fmt: skip
