"""Two clips against each other, and several in order: what `compare` and `pick` give."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mllm_avqa.schema.measurement import Severity
from mllm_avqa.schema.names import Side
from mllm_avqa.schema.rating import Rating

Which = Literal["first", "second"]
Basis = Literal["pairs", "interval", "levels", "question"]
CLEAR, LIKELY = 0.95, 0.75  # probability from which one clip is clearly, or likely, the better one


class PairRules(BaseModel):
    """How differences of two scores are read, settled on pairs of held-out clips: `python -m eval pairs`.

    P(first is better) = Phi(difference / scale), one scale for pairs of the same content and one for others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scales: dict[str, dict[Literal["same", "other"], float]]  # by aspect
    by: Literal["scores", "question"] = "scores"  # what ordered held-out pairs better
    weights: str  # hash of the weights it was settled with; it says nothing of others
    measured: dict[str, object] = {}  # the pairs, and the share that scores and the model's own answers order rightly


class Reason(BaseModel):
    """What speaks against one of the two clips: a finding or a fact that is worse there."""

    model_config = ConfigDict(extra="forbid")

    against: Which
    kind: Literal["finding", "fact"]
    name: str  # of the fact or kind
    unit: str = ""
    first: float | None = None  # value of the fact
    second: float | None = None
    first_severity: Severity = "none"
    second_severity: Severity = "none"


class AspectVerdict(BaseModel):
    """One aspect of two clips."""

    model_config = ConfigDict(extra="forbid")

    better: Which
    sure: Literal["clear", "likely", "open"]
    difference: float  # points of the first above the second
    probability: float  # that the first is better
    by: Basis  # what the probability rests on
    least: float | None = None  # smallest difference that would be clear; None: not known
    why: list[Reason] = []  # worst first

    @classmethod
    def of(
        cls, difference: float, probability: float, by: Basis, scale: float | None, why: list[Reason]
    ) -> AspectVerdict:
        most = max(probability, 1 - probability)
        return cls(
            better="first" if probability >= 0.5 else "second",
            sure="clear" if most >= CLEAR else "likely" if most >= LIKELY else "open",
            difference=round(difference, 4),
            probability=round(probability, 4),
            by=by,
            least=None if scale is None else round(scale * NormalDist().inv_cdf(CLEAR), 4),
            why=why,
        )


class Alignment(BaseModel):
    """Whether two clips show and play the same, and by how much the second is late."""

    model_config = ConfigDict(extra="forbid")

    picture: float | None = None  # likeness -1..1 at the best lag; None: one has no picture
    sound: float | None = None
    same: list[Side] = []  # sides with the same content
    lag: float = 0.0  # seconds


class WindowPair(BaseModel):
    """Windows of the same content; seconds of each clip, and points of the first above the second by aspect."""

    model_config = ConfigDict(extra="forbid")

    first: tuple[float, float]
    second: tuple[float, float]
    differences: dict[str, float]


class ComparedClips(BaseModel):
    """Two clips. An aspect that one of them has no score for is not compared, `missing` says why."""

    model_config = ConfigDict(extra="forbid")

    first: Rating
    second: Rating
    alignment: Alignment
    verdicts: dict[str, AspectVerdict]
    missing: dict[str, str] = {}
    windows: list[WindowPair] = []  # of clips with the same content

    @property
    def differing(self) -> list[Reason]:
        """What speaks against either of them, each once."""
        found = {(r.kind, r.name, r.against): r for v in self.verdicts.values() for r in v.why}
        return list(found.values())


class TakePlace(BaseModel):
    """One clip in the order of `pick`."""

    model_config = ConfigDict(extra="forbid")

    rank: int
    index: int  # in the order they were given, from 0 on
    path: str
    score: float | None  # of the aspect they are ordered by
    beats_next: float | None = None  # probability that it is better than the one behind it


class PickedTakes(BaseModel):
    """Clips in order, and the best one against each of the others."""

    model_config = ConfigDict(extra="forbid")

    aspect: str
    places: list[TakePlace] = Field(min_length=1)
    against_best: list[ComparedClips]  # of the best with the others, in the order of the places
    failed: dict[str, str] = {}  # clips that could not be rated


def beats(difference: float, scale: float) -> float:
    """Probability that a clip is better whose score lies `difference` above the other's."""
    return 0.5 * (1 + math.erf(difference / (scale * math.sqrt(2))))
