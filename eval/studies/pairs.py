"""Which of two clips is better? Every way to say it, on pairs of held-out clips; the card keeps what is best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import typer
from pydantic import BaseModel, ConfigDict

from eval.held_out import HeldOut, chunks, clip_scores
from eval.samples import select
from eval.stats import content_parts
from eval.study import FEWER, Rated, Report, argument, option
from eval.writing import table
from mllm_avqa.corridor import Corridor
from mllm_avqa.pipeline.cutoffs import Bounded, content_weights
from mllm_avqa.rater.comparing import by_interval, levels
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.comparison import PairRules, beats
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.rating import ASPECTS, ScoreDistribution
from mllm_avqa.schema.records import Record, read_records

MOST = 4000  # pairs of a kind
ASKED = 120  # pairs the model itself is asked about
LEAST = 20
APART = 0.6  # points of the labels from which people agree
SCALES = np.geomspace(0.05, 5, 200)
Kind = Literal["same", "other"]  # content
Scored = dict[str, tuple[Record, dict[str, ScoreDistribution]]]


class PairResult(BaseModel):
    """One way to tell the better clip. right: share of pairs, over all and over those whose labels are `APART`."""

    model_config = ConfigDict(extra="forbid")

    aspect: str
    content: Kind
    way: str
    pairs: int
    right: Bounded
    apart: float | None = None
    brier: float  # mean squared error of the probability


class PairStudy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    checkpoint: str
    rules: PairRules
    results: list[PairResult]
    failed: dict[str, str] = {}
    notes: list[str] = []


class HeldOutPairs(Rated):
    """Share of held-out pairs in which the better clip is named, by way of saying it.

    Scales of the differences are settled on one split and tested on the other.
    """

    command: ClassVar[str] = "pairs"

    records: Path = argument("Record file (.jsonl) with clips of both splits.")
    split: str = option("val", "Split that scales are settled on; not the training split.")
    test: str = option("test", "Split that every way is measured on.")
    clips: int | None = option(None, FEWER, ge=2)
    write_card: bool = option(False, "Put the rules into avqa.yaml and MODEL_CARD.md.", place="command")

    def run(self) -> PairStudy:
        """Raises ConfigError for empty splits or too few pairs, CheckpointError for the checkpoint."""
        if self.split == self.test:
            raise ConfigError(f"--split {self.split} and --test {self.test}: pairs that settle cannot test as well")
        every = list(read_records(self.records))
        failed: dict[str, str] = {}
        answers: dict[tuple[str, str, str], float] = {}
        with self.opened() as rater:
            both: list[Scored] = []
            for split in (self.split, self.test):
                found: Scored = {}
                held: list[HeldOut] = []
                for part in chunks(
                    select(every, split, self.clips, self.records.name), self.records.parent, rater, self.chunk, failed
                ):
                    for clip, scores in zip(part, clip_scores(rater, part, self.language), strict=True):
                        for aspect, d in scores.items():
                            if rater.scorer.calibration is not None:
                                d.interval = rater.scorer.calibration.interval(d, aspect, self.language)
                        found[clip.record.id] = (clip.record, scores)
                    held += part if rater.card.compares and split == self.test else []
                both.append(found)
                answers |= _answers(rater.corridor, held, self.language) if held else {}
            rater.corridor.forget()
        settle, test = both
        scales: dict[str, dict[Kind, float]] = {a: s for a in ASPECTS if (s := _scales(settle, a))}
        if not scales:
            raise ConfigError(f"{self.records}: fewer than {LEAST} pairs of labelled clips in {self.split!r} (--split)")
        rules = PairRules(scales=scales, weights=rater.weights)
        results = [r for a in scales for r in _measured(test, a, rules, answers)]
        asked = {w: [r.right.value for r in results if r.way == w] for w in ("question", "scores, same pairs")}
        if asked["question"] and np.mean(asked["question"]) > np.mean(asked["scores, same pairs"]):
            rules = rules.model_copy(update={"by": "question"})
        told = {
            f"{r.aspect} {r.content}": {"right": r.right.value, "pairs": r.pairs} for r in results if r.way == "pairs"
        }
        origin: dict[str, object] = {
            "records": self.records.name,
            "split": self.split,
            "test": self.test,
            "right": told,
        }
        if asked["question"]:
            origin["ways"] = {w: round(float(np.mean(v)), 4) for w, v in asked.items()}
        rules = rules.model_copy(update={"measured": origin})
        return PairStudy(checkpoint=rater.card.name, rules=rules, results=results, failed=failed)

    def report(self, found: PairStudy) -> Report:
        if self.write_card:
            typer.echo(f"wrote the rules into {write(self.checkpoint, found).name}/avqa.yaml", err=True)
        return Report(markdown(found), found.model_dump_json(indent=2), found.notes, found.failed)


@dataclass(frozen=True)
class _Two:
    """Two clips with different labels, the first better or not."""

    ids: tuple[str, str]
    contents: tuple[str, str]
    a: ScoreDistribution
    b: ScoreDistribution
    gap: float  # label of the first minus that of the second


def _twos(scored: Scored, aspect: str, kind: Kind, seed: int = 0) -> list[_Two]:
    rated = [
        (r, s[aspect], r.labels[aspect].mean_five, set(content_parts([r.group])[0]))
        for r, s in scored.values()
        if aspect in s and aspect in r.labels
    ]

    def fits(i: int, j: int) -> bool:
        (*_, gap, one), (*_, other_gap, other) = rated[i], rated[j]
        return gap != other_gap and (one == other if kind == "same" else not one & other)

    found = [(i, j) for i in range(len(rated)) for j in range(i) if fits(i, j)]
    rng = np.random.default_rng(seed)
    chosen = [found[k] for k in rng.permutation(len(found))[:MOST]]
    turned = rng.random(len(chosen)) < 0.5  # neither place is the better one by itself
    out = []
    for (i, j), turn in zip(chosen, turned, strict=True):
        one, other = (rated[j], rated[i]) if turn else (rated[i], rated[j])
        groups = (one[0].group, other[0].group)
        out.append(_Two((one[0].id, other[0].id), groups, one[1], other[1], one[2] - other[2]))
    return out


def _scales(scored: Scored, aspect: str) -> dict[Kind, float]:
    """The scale under which the orders of the labels are likeliest, by kind of pair."""
    out: dict[Kind, float] = {}
    kinds: tuple[Kind, Kind] = ("same", "other")
    for kind in kinds:
        twos = _twos(scored, aspect, kind)
        if len(twos) >= LEAST:
            gaps = np.array([(t.a.score - t.b.score) * np.sign(t.gap) for t in twos])
            likelihood = [np.log(np.maximum([beats(g, s) for g in gaps], 1e-6)).mean() for s in SCALES]
            out[kind] = round(float(SCALES[int(np.argmax(likelihood))]), 4)
    return out


def _measured(
    scored: Scored, aspect: str, rules: PairRules, answers: dict[tuple[str, str, str], float]
) -> Iterator[PairResult]:
    for kind, scale in rules.scales[aspect].items():
        twos = _twos(scored, aspect, kind)
        if len(twos) < LEAST:
            continue
        ways: dict[str, Callable[[_Two], float | None]] = {
            "levels": lambda t: levels(t.a, t.b),
            "interval": lambda t: by_interval(t.a, t.b),
            "pairs": partial(_settled, scale=scale),
        }
        for way, probability in ways.items():
            told = [probability(t) for t in twos]
            if None not in told:
                yield _result(aspect, kind, way, twos, np.array(told, float))
        asked = [t for t in twos if (*t.ids, aspect) in answers]
        if len(asked) >= LEAST:
            yield _result(aspect, kind, "question", asked, np.array([answers[*t.ids, aspect] for t in asked]))
            same = np.array([_settled(t, scale) for t in asked])
            yield _result(aspect, kind, "scores, same pairs", asked, same)


def _settled(t: _Two, scale: float) -> float:
    return beats(t.a.score - t.b.score, scale)


def _result(aspect: str, kind: Kind, way: str, twos: Sequence[_Two], p: np.ndarray) -> PairResult:
    won = np.array([t.gap > 0 for t in twos], float)
    right = np.where(p == 0.5, 0.5, (p > 0.5) == (won > 0.5)).astype(float)
    apart = np.array([abs(t.gap) >= APART for t in twos])
    names = sorted({c for t in twos for c in t.contents})
    drawn = content_weights(names, 500)
    place = {c: n for n, c in enumerate(names)}
    w = drawn[:, [place[t.contents[0]] for t in twos]] * drawn[:, [place[t.contents[1]] for t in twos]]
    if kind == "same":
        w = drawn[:, [place[t.contents[0]] for t in twos]]
    with np.errstate(invalid="ignore"):
        draws = (w @ right) / w.sum(1)
    return PairResult(
        aspect=aspect,
        content=kind,
        way=way,
        pairs=len(twos),
        right=Bounded.of(float(right.mean()), draws),
        apart=round(float(right[apart].mean()), 4) if apart.any() else None,
        brier=round(float(((p - won) ** 2).mean()), 4),
    )


def _answers(corridor: Corridor, held: Sequence[HeldOut], language: str) -> dict[tuple[str, str, str], float]:
    """What the model itself says of some pairs, for every aspect that both have."""
    scored: Scored = {c.record.id: (c.record, {}) for c in held}
    encoded = {c.record.id: corridor.encode(c.windows[0], language, remember=True) for c in held}
    rng = np.random.default_rng(0)
    ids = list(scored)
    out: dict[tuple[str, str, str], float] = {}
    for _ in range(ASKED):
        one, other = (ids[int(k)] for k in rng.choice(len(ids), 2, replace=False))
        for aspect in set(encoded[one].aspects) & set(encoded[other].aspects):
            p = corridor.better(encoded[one], encoded[other], aspect, language)
            out[one, other, aspect], out[other, one, aspect] = p, 1 - p
    return out


def markdown(found: PairStudy) -> str:
    rows = [
        [r.aspect, r.content, r.way, str(r.pairs), str(r.right), "–" if r.apart is None else f"{r.apart:.3f}",
         f"{r.brier:.4f}"]
        for r in found.results
    ]  # fmt: skip
    scales = "; ".join(
        f"{a}: " + ", ".join(f"{k} content {s:.2f}" for k, s in by.items()) for a, by in found.rules.scales.items()
    )
    head = ["aspect", "content", "way", "pairs", "right", f"labels {APART:g} apart", "Brier"]
    asked = any(r.way == "question" for r in found.results)
    by = "better on these pairs" if asked else "the model was not taught to compare"
    told = f"P(first is better) = Phi(difference / scale). Scales: {scales}. By: {found.rules.by} ({by})."
    return f"{table(head, rows)}\n\n{told}"


def write(checkpoint: str, found: PairStudy) -> Path:
    """Put the rules into avqa.yaml, and the table into MODEL_CARD.md where there is one; returns the folder of both."""
    from eval.model_card import FILE, put
    from mllm_avqa.model.checkpoint import resolve_checkpoint

    directory = resolve_checkpoint(checkpoint)
    card = Card.load(directory)
    card.pairs = found.rules
    card.save(directory)
    put(directory / FILE, f"## Pairs\n\n{markdown(found)}\n")
    return directory
