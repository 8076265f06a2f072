"""The one public result schema. JSON, CSV, Parquet, HTML and the API all come from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.measurement import Measurement, Severity
from mllm_avqa.schema.names import ASPECTS, Aspect, Side
from mllm_avqa.schema.text import TextContext
from mllm_avqa.schema.whole import Chosen, Coverage, Whole
from mllm_avqa.schema.words import translated

__all__ = ["ASPECTS", "Aspect"]  # besides the models: names found here by all who read ratings


class Interval(BaseModel):
    """Range on 1-5 that holds the label of `coverage` of clips like those the checkpoint was calibrated on."""

    model_config = ConfigDict(extra="forbid")

    low: float
    high: float
    coverage: float

    def __str__(self) -> str:
        return f"{100 * self.coverage:g} %: {self.low:.2f}–{self.high:.2f}"


class ScoreDistribution(BaseModel):
    """Five-level distribution of one aspect. Scores are 1-5, higher is better."""

    model_config = ConfigDict(extra="forbid")

    score: float  # sum of k * p_k
    std: float  # sqrt(sum p_k (k - score)^2)
    level: str  # the level word of the score: the nearest grade
    probs: dict[str, float]  # {"excellent": .., "good": .., "fair": .., "poor": .., "bad": ..}, sums to 1
    mass: float  # share of the full vocabulary's probability that falls on the five level tokens (health number)
    interval: Interval | None = None  # of the clip's score; None = the checkpoint is not calibrated for this aspect


class Claim(BaseModel):
    """One statement of the explanation and what the evidence says of it."""

    model_config = ConfigDict(extra="forbid")

    text: str
    support: Literal["supported", "contradicted", "unverified"]
    because: str = ""  # the measurement or score it was checked against


class Finding(BaseModel):
    """A fault that is held to be there. origin: the model found it, or a measured fact alone says so."""

    model_config = ConfigDict(extra="forbid")

    side: Side
    kind: str  # a key of prompts/faults.<side>.yaml
    name: str  # of the kind, in the language of the rating
    severity: Severity
    probability: float | None = None  # that the kind is there; None: measured
    span: tuple[float, float] | None = None  # seconds; None = throughout
    spans: list[tuple[float, float]] = []  # all stretches of a measured one, where there are several
    facts: list[str] = []  # names of the measured facts that bear on it, worst first
    gain: float = 0.0  # points that the score of its side would gain without it, by its share of what is lost there
    remedy: str = ""
    origin: Literal["model", "measured"] = "model"


class Remedy(BaseModel):
    """What would mend some of the faults, and what that is thought to be worth.

    Gains are points of the 1-5 scale: of the overall score (of the side, where no overall score is given) and of the
    side, times the probability that the faults are there. rests_on: facts that show these faults, or the model alone.
    """

    model_config = ConfigDict(extra="forbid")

    text: str  # in the language of the rating
    side: Side
    kinds: list[str]  # of the faults that it mends
    gain: float
    side_gain: float
    facts: list[str] = []  # names of the measured facts that show the faults, worst first
    rests_on: Literal["facts", "model"]


class Window(BaseModel):
    """Scores of one window of the clip; seconds."""

    model_config = ConfigDict(extra="forbid")

    start: float
    end: float
    scores: dict[str, ScoreDistribution | None]
    chosen: Chosen = "all"  # why it was looked at
    stands_for: float | None = None  # seconds of the file in the mean of the clip's score; None: all windows alike


class Shares(BaseModel):
    """One aspect's score taken apart, in points of the 1-5 scale: `empty` and all shares add up to `full`."""

    model_config = ConfigDict(extra="forbid")

    full: float  # everything given
    empty: float  # nothing given
    shares: dict[str, float]  # Shapley values by player
    errors: dict[str, float] = {}  # their standard errors, where they are estimates
    without: dict[str, float] = {}  # the score when only this player is taken away


class Attribution(BaseModel):
    """What the scores rest on, by aspect: single inputs (`attribution.INPUTS`), and whole modalities."""

    model_config = ConfigDict(extra="forbid")

    inputs: dict[str, Shares]
    modalities: dict[str, Shares]
    coalitions: int  # sets of inputs that were scored
    orders: int = 0  # random orders that the shares of the inputs were estimated from; 0 = they are exact


class Rating(BaseModel):
    """What people get for a clip. An aspect that cannot be judged is None and `missing[aspect]` says why."""

    model_config = ConfigDict(extra="forbid")

    path: str
    scores: dict[str, ScoreDistribution | None]
    missing: dict[str, str] = {}
    explanation: str | None = None
    claims: list[Claim] = []
    findings: list[Finding] = []  # worst first within a side
    remedies: list[Remedy] = []  # what would help, most first
    withdrawn: list[Claim] = []  # what the model found and a measured fact refutes: not among findings, nor in the text
    windows: list[Window] = []
    coverage: Coverage | None = None  # how much of the file the windows show
    whole: Whole | None = None  # facts of the whole file; None: no pass over it
    attribution: Attribution | None = None  # None = not asked for
    evidence: list[Measurement] = []
    context: TextContext = TextContext()
    media: MediaInfo
    warnings: list[str] = []
    gate: list[str] = []  # why it does not pass the limits that were asked for; empty: it does, or none were
    inputs: dict[str, object] = {}  # what was done to the input: frames used, sizes, resampling
    fingerprint: dict[str, str] = {}  # weights, prompts, views, package: equal fingerprints mean comparable scores
    content_hash: str = ""  # sha256 of the file's bytes
    language: str = "en"
    seconds: dict[str, float] = {}  # wall time per room

    def facts(self) -> dict[str, Measurement]:
        """Every measured fact of the clip by name: what rows, gates and comparisons know of it."""
        return {m.name: m for m in self.evidence}

    def _repr_html_(self) -> str:
        """Scores and findings as a small table, for notebooks; everything is escaped."""
        from html import escape

        from mllm_avqa.schema.words import load_prompts

        names = load_prompts("tasks", self.language)["what"]
        rows = []
        for aspect, d in self.scores.items():
            told = [f"{d.score:.2f}", d.level, str(d.interval or "")] if d else ["–", "", self.missing.get(aspect, "")]
            found = ", ".join(f"{f.name} ({f.severity})" for f in self.findings if f.side == aspect)
            rows.append("".join(f"<td>{escape(c)}</td>" for c in (names.get(aspect, aspect), *told, found)))
        body = "".join(f"<tr>{r}</tr>" for r in rows)
        return f"<table><caption>{escape(self.path)}</caption>{body}</table>"

    def told(self) -> Rating:
        """The same rating with everything that the rooms say of the clip in the rating's language."""
        say = partial(translated, language=self.language)
        sources = [s.model_copy(update={"detail": say(s.detail)}) for s in self.context.sources]
        return self.model_copy(
            update={
                "missing": {a: say(why) for a, why in self.missing.items()},
                "warnings": [say(w) for w in self.warnings],
                "evidence": [m.model_copy(update={"note": say(m.note)}) for m in self.evidence],
                "context": self.context.model_copy(update={"sources": sources}),
            }
        )


@dataclass
class RatingFailure:
    """A clip of many that could not be rated, in its place in the order."""

    path: str
    error: AvqaError
