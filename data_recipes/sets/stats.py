"""What a record file holds, counted in one pass and constant memory: clips, labels, faults, questions, texts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappushpop
from pathlib import PurePath

from pydantic import BaseModel, ConfigDict

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS, word
from mllm_avqa.schema.records import Label, Record

BINS = 20  # of a histogram: 5 % of the scale each, 0.2 on 1-5
_KEYS = 200  # different names a count keeps apart; whatever comes later is counted together
OTHER = "(other)"
_ASPECTS = ("overall", "video", "audio", "sync", "text")
_SCALES = 1000  # different (dataset, aspect, scale)
_SKETCH = 4096  # different groups counted exactly; beyond, the count is an estimate with a standard error of 1.6 %


class Histogram(BaseModel):
    """Scores in `BINS` equal bins of the study's nominal scale; what lies outside of it is counted apart."""

    model_config = ConfigDict(extra="forbid")

    low: float
    high: float
    counts: list[int] = [0] * BINS
    below: int = 0
    above: int = 0

    def add(self, value: float) -> None:
        place = (value - self.low) / (self.high - self.low)
        if place < 0:
            self.below += 1
        elif place > 1:
            self.above += 1
        else:
            self.counts[min(int(place * BINS), BINS - 1)] += 1


class Scores(BaseModel):
    """Labels of one aspect of one dataset on one scale. Means and stds without a suffix are on the native scale."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    aspect: str
    low: float
    high: float
    higher_is_better: bool
    n: int = 0
    missing: int = 0  # records of the dataset without a label of this aspect
    pseudo: int = 0
    with_std: int = 0
    with_votes: int = 0
    mean: float = 0.0
    std: float = 0.0  # of the scores
    mean_vote_std: float | None = None  # mean of the labels' own std: how much people disagree
    mean_five: float = 0.0
    levels: dict[str, int] = {}
    native: Histogram
    five: Histogram


class Stats(BaseModel):
    """Numbers of a record file. Counts by name hold at most 200 names; later ones are counted under "(other)"."""

    model_config = ConfigDict(extra="forbid")

    records: int = 0
    hours: float = 0.0  # of the clips whose end is known
    unknown_length: int = 0
    groups: int = 0
    groups_exact: bool = True
    splits: dict[str, dict[str, int]] = {}  # dataset -> split -> clips
    suffixes: dict[str, int] = {}  # of media names
    labelled: dict[str, int] = {}  # clips by what they have labels of, e.g. "video+audio+overall"
    scores: list[Scores] = []
    faults: dict[str, dict[str, list[int]]] = {}  # modality -> kind -> clips at level 1..5
    faults_per_clip: dict[str, int] = {}
    questions: dict[str, dict[str, dict[str, int]]] = {}  # stage -> task -> language -> questions
    contexts: dict[str, int] = {}  # origin of texts given with clips -> clips
    descriptions: int = 0
    licences: dict[str, int] = {}


class Tally(Counter[str]):
    """Counts of names that can not grow without bound."""

    def add(self, name: str) -> None:
        self[name if name in self or len(self) < _KEYS else OTHER] += 1


class Distinct:
    """How many different strings there are, from the smallest of their hashes.

    Source: k minimum values, Bar-Yossef et al., RANDOM 2002. Exact up to `_SKETCH` strings.
    """

    def __init__(self) -> None:
        self._heap: list[int] = []  # negated: the largest kept hash comes first
        self._kept: set[int] = set()
        self.exact = True

    def add(self, name: str) -> None:
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        if key in self._kept:
            return
        if len(self._heap) < _SKETCH:
            self._kept.add(key)
            self._heap.append(-key)
            if len(self._heap) == _SKETCH:
                self._heap.sort()
            return
        self.exact = False
        if key < -self._heap[0]:
            self._kept.add(key)
            self._kept.discard(-heappushpop(self._heap, -key))

    def count(self) -> int:
        return len(self._kept) if self.exact else round((_SKETCH - 1) * 2**64 / -self._heap[0])


@dataclass
class _Moments:
    """Running mean and spread (Welford)."""

    n: int = 0
    mean: float = 0.0
    square: float = 0.0

    def add(self, value: float) -> None:
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self.square += step * (value - self.mean)

    @property
    def std(self) -> float:
        return (self.square / self.n) ** 0.5 if self.n else 0.0


class _Aspect:
    """Labels of one aspect on one scale while they are counted."""

    def __init__(self, dataset: str, aspect: str, label: Label) -> None:
        scale = label.native
        self.out = Scores(
            dataset=dataset,
            aspect=aspect,
            low=scale.low,
            high=scale.high,
            higher_is_better=label.higher_is_better,
            native=Histogram(low=scale.low, high=scale.high),
            five=Histogram(low=1, high=5),
            levels=dict.fromkeys(WORDS, 0),
        )
        self.native, self.five, self.disagreement = _Moments(), _Moments(), _Moments()

    def add(self, label: Label) -> None:
        five = label.mean_five
        self.native.add(label.mean)
        self.five.add(five)
        self.out.native.add(label.mean)
        self.out.five.add(five)
        self.out.levels[word(five)] += 1
        self.out.pseudo += label.pseudo
        self.out.with_votes += label.votes is not None
        if label.std is not None:
            self.disagreement.add(label.std)

    def result(self, missing: int) -> Scores:
        mean_std = self.disagreement.mean if self.disagreement.n else None
        return self.out.model_copy(
            update={
                "n": self.native.n,
                "missing": missing,
                "with_std": self.disagreement.n,
                "mean": self.native.mean,
                "std": self.native.std,
                "mean_vote_std": mean_std,
                "mean_five": self.five.mean,
            }
        )


@dataclass
class _Counts:
    splits: dict[str, Counter[str]] = field(default_factory=dict)
    faults: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    questions: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    scores: dict[tuple[str, str, float, float, bool], _Aspect] = field(default_factory=dict)
    suffixes: Tally = field(default_factory=Tally)
    labelled: Tally = field(default_factory=Tally)
    per_clip: Tally = field(default_factory=Tally)
    contexts: Tally = field(default_factory=Tally)
    licences: Tally = field(default_factory=Tally)


def collect(records: Iterable[Record]) -> Stats:
    """Count everything in one pass. Raises ConfigError for a label whose scale is not one of a study."""
    stats, counts, groups = Stats(), _Counts(), Distinct()
    seconds = 0.0
    for r in records:
        stats.records += 1
        dataset = _bounded(r.dataset, counts.splits)
        counts.splits.setdefault(dataset, Counter())[r.split or "none"] += 1
        groups.add(r.group)
        if r.end is None:
            stats.unknown_length += 1
        else:
            seconds += max(0.0, r.end - (r.start or 0.0))
        stats.descriptions += r.description is not None
        counts.suffixes.add(PurePath(r.media).suffix.lower() or "none")
        counts.labelled.add("+".join(sorted(r.labels)) or "none")
        counts.licences.add(r.licence or "not given")
        for origin in r.context or ("none",):
            counts.contexts.add(origin)
        _count_labels(r, dataset, counts)
        _count_faults(r, counts)
        for q in r.questions:
            tasks = counts.questions.setdefault(str(q.stage), {})
            tasks.setdefault(_bounded(q.task, tasks), Counter())[q.language] += 1
    stats.hours = seconds / 3600
    stats.groups, stats.groups_exact = groups.count(), groups.exact
    stats.splits = {d: dict(c) for d, c in counts.splits.items()}
    labelled: Counter[tuple[str, str]] = Counter()
    for (dataset, aspect, *_), found in counts.scores.items():
        labelled[dataset, aspect] += found.native.n
    stats.scores = [
        found.result(counts.splits[dataset].total() - labelled[dataset, aspect])
        for (dataset, aspect, *_), found in sorted(counts.scores.items(), key=lambda item: _order(item[0][1]))
    ]
    stats.faults = {
        m: dict(sorted(kinds.items())) for m, kinds in sorted(counts.faults.items(), key=lambda item: _order(item[0]))
    }
    stats.questions = {s: {t: dict(c) for t, c in tasks.items()} for s, tasks in sorted(counts.questions.items())}
    for name in ("suffixes", "labelled", "contexts", "licences"):
        setattr(stats, name, dict(getattr(counts, name).most_common()))
    stats.faults_per_clip = dict(sorted(counts.per_clip.items(), key=lambda item: (len(item[0]), item[0])))
    return stats


def _order(aspect: str) -> tuple[int, str]:
    return (_ASPECTS.index(aspect) if aspect in _ASPECTS else len(_ASPECTS)), aspect


def _bounded(name: str, seen: Mapping[str, object]) -> str:
    return name if name in seen or len(seen) < _KEYS else OTHER


def _count_labels(record: Record, dataset: str, counts: _Counts) -> None:
    for aspect, label in record.labels.items():
        key = (dataset, aspect, *label.scale, label.higher_is_better)
        if key not in counts.scores:
            if len(counts.scores) == _SCALES:
                raise ConfigError(
                    f"record {record.id}: more than {_SCALES} kinds of labels (dataset, aspect, scale); "
                    f"the scale of {aspect}, {label.scale}, is the study's, not the clip's"
                )
            counts.scores[key] = _Aspect(dataset, aspect, label)
        counts.scores[key].add(label)


def _count_faults(record: Record, counts: _Counts) -> None:
    faults = len(record.distortions)
    counts.per_clip.add(str(faults) if faults < 10 else "10+")
    for d in record.distortions:
        kinds = counts.faults.setdefault(d.modality, {})
        levels = kinds.setdefault(_bounded(d.kind, kinds), [0] * 5)
        if 1 <= d.level <= 5:
            levels[d.level - 1] += 1
