"""Two clips, aspect by aspect: which is better, by how much, how sure, and why; several clips in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise
from statistics import NormalDist
from typing import Protocol

from mllm_avqa.corridor import Corridor, Encoded
from mllm_avqa.media import MediaReader
from mllm_avqa.media.sources import Source, as_file, called
from mllm_avqa.rater.aligning import Signature, align
from mllm_avqa.rater.scorer import Scorer
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.clip import WHOLE, DecodeSpec, Span
from mllm_avqa.schema.comparison import (
    Alignment,
    AspectVerdict,
    Basis,
    ComparedClips,
    PairRules,
    PickedTakes,
    Reason,
    TakePlace,
    Which,
    WindowPair,
    beats,
)
from mllm_avqa.schema.errors import AvqaError, ConfigError
from mllm_avqa.schema.levels import VALUES, WORDS
from mllm_avqa.schema.measurement import SEVERITIES
from mllm_avqa.schema.names import ASPECTS, SIDES, Side
from mllm_avqa.schema.rating import Rating, ScoreDistribution
from mllm_avqa.windows import Prepared

MOST_REASONS = 4
ASKED = 2  # windows of each clip that the model is asked about, where it was taught to compare
EQUAL = 0.25  # seconds by which clips of the same content may differ in length and are still taken whole


class RatesTakes(Protocol):
    """The part of `Rater` that a comparison needs."""

    card: Card
    weights: str
    reader: MediaReader
    corridor: Corridor
    scorer: Scorer
    language: str

    def rate(
        self, source: Source, *, user_text: str | None = None, explain: bool = True, span: Span = WHOLE
    ) -> Rating: ...

    def windows(self, path: str, user_text: str | None = None, *, span: Span = WHOLE) -> Iterator[Prepared]: ...


@dataclass(frozen=True)
class Take:
    """One of the clips while it lies as a file. content: None where it cannot be read; `error` says why."""

    path: str
    name: str
    seconds: float = 0.0
    content: Signature | None = None
    error: AvqaError | None = None


@dataclass(frozen=True)
class Takes:
    """Clips against each other with one rater."""

    rater: RatesTakes

    def compare(self, first: Source, second: Source, user_text: str | None) -> ComparedClips:
        with ExitStack() as files:
            takes = [self._opened(s, files) for s in (first, second)]
            for t in takes:
                if t.error is not None:
                    raise t.error
            spans = self._spans(takes)
            ratings = [self._rating(t, span, user_text) for t, span in zip(takes, spans, strict=True)]
            return self._compared(takes, ratings, spans, 0, 1, user_text)

    def pick(self, sources: Sequence[Source], aspect: str, user_text: str | None) -> PickedTakes:
        if len(sources) < 2:
            raise ConfigError(f"{len(sources)} clip to pick from: at least 2 are needed")
        failed: dict[str, str] = {}
        first_error: AvqaError | None = None
        with ExitStack() as files:
            opened = [self._opened(s, files) for s in sources]
            given = [(n, t) for n, t in enumerate(opened) if t.error is None]
            takes, spans = [t for _, t in given], self._spans([t for _, t in given])
            rated: list[tuple[int, Take, Span, Rating]] = []
            for (n, t), span in zip(given, spans, strict=True):
                try:
                    rated.append((n, t, span, self._rating(t, span, user_text)))
                except AvqaError as e:
                    failed[t.name], first_error = str(e), first_error or e
            for t in opened:
                if t.error is not None:
                    failed[t.name], first_error = str(t.error), first_error or t.error
            if not rated:
                assert first_error is not None
                raise first_error
            takes, spans = [t for _, t, _, _ in rated], [s for _, _, s, _ in rated]
            ratings = [r for _, _, _, r in rated]
            order = ordered(ratings, aspect)
            against = [self._compared(takes, ratings, spans, order[0], k, user_text) for k in order[1:]]
            beats_next = [self._beats(takes, ratings, spans, i, j, aspect, user_text) for i, j in pairwise(order)]
        places = [
            TakePlace(
                rank=rank,
                index=rated[k][0],
                path=ratings[k].path,
                score=d.score if (d := ratings[k].scores.get(aspect)) is not None else None,
                beats_next=beats_next[rank - 1] if rank <= len(beats_next) else None,
            )
            for rank, k in enumerate(order, 1)
        ]
        return PickedTakes(aspect=aspect, places=places, against_best=against, failed=failed)

    def _opened(self, source: Source, files: ExitStack) -> Take:
        path, name = files.enter_context(as_file(source, self.rater.reader.limits))
        views = self.rater.card.views
        try:
            seconds = self.rater.reader.probe(path).duration
            spec = DecodeSpec(duration=views.window_seconds, segments=1, frames_per_segment=1)
            return Take(path, name, seconds, Signature.of(self.rater.reader.read_clip(path, spec)))
        except AvqaError as e:
            return Take(path, name, error=e)

    def _spans(self, takes: Sequence[Take]) -> list[Span]:
        """Spans of the same content, where all show or play the same; else every clip whole."""
        if not takes:
            return []
        found = [self._alignment(takes[0], t) for t in takes]
        if not all(a.same for a in found):
            return [WHOLE] * len(takes)
        starts = [a.lag - min(x.lag for x in found) for a in found]
        lengths = [t.seconds - s for t, s in zip(takes, starts, strict=True)]
        if max(starts) == 0 and max(lengths) - min(lengths) <= EQUAL:
            return [WHOLE] * len(takes)
        return [(round(s, 3), round(s + min(lengths), 3)) for s in starts]

    def _alignment(self, one: Take, other: Take) -> Alignment:
        assert one.content is not None
        assert other.content is not None
        return align(one.content, other.content)

    def _rating(self, take: Take, span: Span, user_text: str | None) -> Rating:
        return called(self.rater.rate(take.path, user_text=user_text, explain=False, span=span), take.name)

    def _compared(
        self, takes: Sequence[Take], ratings: Sequence[Rating], spans: Sequence[Span], i: int, j: int,
        user_text: str | None,
    ) -> ComparedClips:  # fmt: skip
        asked: dict[str, float] = {}
        if self.rater.card.compares:
            one, other = ([*islice(self._encoded(takes[k], spans[k], user_text), ASKED)] for k in (i, j))
            for aspect in self.rater.card.aspects:
                both = [(a, b) for a, b in zip(one, other, strict=False) if aspect in a.aspects and aspect in b.aspects]
                told = [self.rater.corridor.better(a, b, aspect, self.rater.language) for a, b in both]
                if told:
                    asked[aspect] = sum(told) / len(told)
        rules = own_rules(self.rater.card, self.rater.weights)
        return compared(ratings[i], ratings[j], self._alignment(takes[i], takes[j]), rules, asked)

    def _beats(
        self, takes: Sequence[Take], ratings: Sequence[Rating], spans: Sequence[Span], i: int, j: int, aspect: str,
        user_text: str | None,
    ) -> float | None:  # fmt: skip
        verdict = self._compared(takes, ratings, spans, i, j, user_text).verdicts.get(aspect)
        return None if verdict is None else verdict.probability

    def _encoded(self, take: Take, span: Span, user_text: str | None) -> Iterator[Encoded]:
        for p in self.rater.windows(take.path, user_text, span=span):
            yield self.rater.scorer.encode(p)
            p.free()


def compared(
    first: Rating, second: Rating, alignment: Alignment, rules: PairRules | None, asked: dict[str, float]
) -> ComparedClips:
    """asked: the model's own answers by aspect, the probability that the first is better, where it was taught to."""
    verdicts: dict[str, AspectVerdict] = {}
    missing: dict[str, str] = {}
    for aspect in ASPECTS:
        a, b = first.scores.get(aspect), second.scores.get(aspect)
        if a is None or b is None:
            missing[aspect] = (first if a is None else second).missing.get(aspect, "")
            continue
        probability, by, scale = _probability(a, b, aspect, alignment, rules)
        if aspect in asked and rules is not None and rules.by == "question":
            probability, by, scale = asked[aspect], "question", None
        sides = [s for s in SIDES if aspect in ("overall", s)]
        verdicts[aspect] = AspectVerdict.of(a.score - b.score, probability, by, scale, reasons(first, second, sides))
    windows = _pairs(first, second) if alignment.same else []
    return ComparedClips(
        first=first, second=second, alignment=alignment, verdicts=verdicts, missing=missing, windows=windows
    )


def _probability(
    a: ScoreDistribution, b: ScoreDistribution, aspect: str, alignment: Alignment, rules: PairRules | None
) -> tuple[float, Basis, float | None]:
    """That the first is better: from held-out pairs, else from the calibrated intervals, else from the levels."""
    same = aspect in alignment.same or (aspect == "overall" and bool(alignment.same))
    scale = rules.scales.get(aspect, {}).get("same" if same else "other") if rules is not None else None
    if scale:
        return beats(a.score - b.score, scale), "pairs", scale
    spread = _spread(a, b)
    if spread is not None:
        return beats(a.score - b.score, spread), "interval", spread
    return levels(a, b), "levels", None


def by_interval(a: ScoreDistribution, b: ScoreDistribution) -> float | None:
    """That the label of the first is higher, by what the calibrated intervals say of each; None without them."""
    spread = _spread(a, b)
    return None if spread is None else beats(a.score - b.score, spread)


def _spread(*scores: ScoreDistribution) -> float | None:
    """Standard deviation of the difference of two labels about that of the scores, as if they were independent."""
    parts = [_label_std(d) for d in scores]
    return None if None in parts else sum(p**2 for p in parts if p is not None) ** 0.5


def _label_std(d: ScoreDistribution) -> float | None:
    """Standard deviation of the label about the score that the interval says; one end may be cut at 1 or 5."""
    if d.interval is None:
        return None
    half = max(d.score - d.interval.low, d.interval.high - d.score)
    return max(half / NormalDist().inv_cdf((1 + d.interval.coverage) / 2), 1e-3)


def levels(a: ScoreDistribution, b: ScoreDistribution) -> float:
    """That a vote on the first is higher than one on the second, ties split."""
    votes = [
        (a.probs[x] * b.probs[y], va - vb)
        for x, va in zip(WORDS, VALUES, strict=True)
        for y, vb in zip(WORDS, VALUES, strict=True)
    ]
    return sum(p * (1.0 if d > 0 else 0.5 if d == 0 else 0.0) for p, d in votes)


def reasons(first: Rating, second: Rating, sides: Sequence[Side]) -> list[Reason]:
    """Findings that one has alone or worse, then facts that are graded worse in one; the largest gaps first."""
    found: list[tuple[int, Reason]] = []
    kinds = [{f.kind: f.severity for f in r.findings if f.side in sides} for r in (first, second)]
    names = {f.kind: f.name for r in (first, second) for f in r.findings}
    for kind in dict.fromkeys([*kinds[0], *kinds[1]]):
        one, other = (k.get(kind, "none") for k in kinds)
        gap = SEVERITIES.index(one) - SEVERITIES.index(other)
        if gap:
            against: Which = "first" if gap > 0 else "second"
            reason = Reason(
                against=against, kind="finding", name=names[kind], first_severity=one, second_severity=other
            )
            found.append((abs(gap), reason))
    mine, theirs = first.facts(), second.facts()
    for name in mine.keys() & theirs.keys():
        a, b = mine[name], theirs[name]
        gap = SEVERITIES.index(a.severity) - SEVERITIES.index(b.severity)
        if gap and a.modality in sides:
            worse: Which = "first" if gap > 0 else "second"
            reason = Reason(
                against=worse, kind="fact", name=name, unit=a.unit, first=a.value, second=b.value,
                first_severity=a.severity, second_severity=b.severity,
            )  # fmt: skip
            found.append((abs(gap), reason))
    found.sort(key=lambda f: (-f[0], f[1].kind != "finding", f[1].name))
    return [r for _, r in found][: MOST_REASONS * len(sides)]


def _pairs(first: Rating, second: Rating) -> list[WindowPair]:
    """Windows in the order in which both clips have them: they were laid over the same content."""
    return [
        WindowPair(
            first=(a.start, a.end),
            second=(b.start, b.end),
            differences={
                aspect: round(x.score - y.score, 4)
                for aspect, x in a.scores.items()
                if x is not None and (y := b.scores.get(aspect)) is not None
            },
        )
        for a, b in zip(first.windows, second.windows, strict=False)
    ]


def own_rules(card: Card, weights: str) -> PairRules | None:
    """The card's, when they belong to these very weights."""
    return card.pairs if card.pairs is not None and card.pairs.weights == weights else None


def ordered(ratings: Sequence[Rating], aspect: str) -> list[int]:
    """Indices, the best first; those without a score last, in the order given."""

    def height(i: int) -> tuple[bool, float]:
        d = ratings[i].scores.get(aspect)
        return d is None, -d.score if d is not None else 0.0

    return sorted(range(len(ratings)), key=height)
