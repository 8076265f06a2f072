"""A checkpoint's intervals: rate the clips of two splits, calibrate on one, test on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from eval.calibration import CalibrationStudy, Judged, aspect_calibration
from eval.calibration_card import put, section
from eval.held_out import Judge, chunks, opened
from eval.model_card import FILE
from eval.stats import content_parts
from mllm_avqa.rater import Rater, resolve_checkpoint
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS, ScoreDistribution
from mllm_avqa.schema.records import Record, read_records


def calibrate(
    records_file: Path,
    checkpoint: str,
    *,
    split: str = "val",
    test: str = "test",
    coverage: float = 0.9,
    languages: Sequence[str] = (),
    context: str = "fast",
    chunk: int = 8,
    threads: int | None = None,
    draws: int = 1000,
) -> CalibrationStudy:
    """Rate the clips of both splits and calibrate every aspect that has labels in both.

    Raises ConfigError for equal or empty splits and for a coverage outside 0..1, CheckpointError for the checkpoint.
    """
    if split == test:
        raise ConfigError(f"--split {split} and --test {test}: clips that calibrate cannot test as well")
    if not 0 < coverage < 1:
        raise ConfigError(f"--coverage {coverage:g} is not between 0 and 1")
    every = list(read_records(records_file))
    sides = {s: [r for r in every if r.split == s and r.labels] for s in (split, test)}
    for flag, s in (("--split", split), ("--test", test)):
        if not sides[s]:
            there = ", ".join(sorted({r.split or "none" for r in every})) or "no records at all"
            raise ConfigError(f"no labelled record of split {s!r} ({flag}); there are: {there}")
    with opened(None, checkpoint, context=context, threads=threads) as rater:
        found, failed = _scores([*sides[split], *sides[test]], records_file.parent, rater, languages, chunk)
    aspects = []
    for language, scores in found.items():
        for aspect in (a for a in ASPECTS if a in rater.card.aspects):
            one, other = (
                Judged.of(
                    [(r, scores[r.id][aspect]) for r in side if aspect in r.labels and aspect in scores.get(r.id, {})],
                    aspect,
                )
                for side in sides.values()
            )
            if len(one.label) or len(other.label):
                aspects.append(aspect_calibration(one, other, coverage, aspect, language, draws))
    return CalibrationStudy(
        checkpoint=rater.card.name,
        weights=rater.weights,
        coverage=coverage,
        records=_origin(records_file, sides, context),
        aspects=aspects,
        failed=failed,
        notes=_shared(every, split, test),
    )


def write(checkpoint: str, found: CalibrationStudy) -> Path:
    """Put the intervals into avqa.yaml, and into MODEL_CARD.md where there is one; returns the folder of both.

    Raises ConfigError when there are none.
    """
    directory = resolve_checkpoint(checkpoint)
    card = Card.load(directory)
    card.calibration = found.calibration()
    card.save(directory)
    put(directory / FILE, section(card.calibration, found.weights))
    return directory


def _scores(
    records: list[Record], base: Path, rater: Rater, languages: Sequence[str], chunk: int
) -> tuple[dict[str, dict[str, dict[str, ScoreDistribution]]], dict[str, str]]:
    """Scores by language, record and aspect, and why clips have none."""
    judge = Judge(rater)
    failed: dict[str, str] = {}
    out: dict[str, dict[str, dict[str, ScoreDistribution]]] = {x: {} for x in languages or rater.card.languages}
    for part in chunks(records, base, rater, chunk, failed):
        for language, scores in out.items():
            scores |= {c.record.id: s for c, s in zip(part, judge.clips(part, language), strict=True)}
        judge.forget()
    return out, failed


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
