"""What comes of a correlation: the schema of `--format json`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from eval.joining.columns import Lost
from eval.stats import Agreement, Comparison, Discrimination, Number, Quartiles, Segment


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Part(_Table):
    """Clips of one value of the `by` column, with a mapping of their own; ITU-T P.1203 reports so per database."""

    part: str
    agreement: Agreement


class Detail(_Table):
    """What goes beyond the table of correlations."""

    parameters: list[float] = []  # of the mapping
    rmse_free: Number  # RMSE with N - d degrees of freedom
    rmse_star: Number
    outlier_ratio: Number
    discrimination: Discrimination
    segments: list[Segment]
    splits: dict[str, Quartiles]
    parts: list[Part] = []


class Halo(_Table):
    """Does a model hear and see, or judge once and say it twice? Over clips with both, scored and labelled."""

    n: int
    residual: Number  # SRCC(audio - video score, audio - video label)
    video: Number  # rank correlation of video score and label with the audio label held constant
    audio: Number


class Correlation(_Table):
    aspects: dict[str, Agreement]
    lost: dict[str, Lost]
    notes: list[str] = []
    name: str = ""
    details: dict[str, Detail] = {}
    halo: Halo | None = None
    others: dict[str, Correlation] = {}  # the models it is compared with
    comparisons: dict[str, list[Comparison]] = {}
