"""How far a score may be from the label: what held-out clips say, kept in the card, told with every rating.

Split-conformal intervals (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, JASA 113 (2018)) with residuals in units of the
predicted standard deviation, so that a clip the model is unsure of gets a wider one.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mllm_avqa.schema.rating import Interval, ScoreDistribution

LEAST_STD = 0.1  # a model that is surer than this of a five-grade score is not believed


class Calibration(BaseModel):
    """Score +- quantile x max(std, least_std) holds `coverage` of the labels of clips like those it was made on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    coverage: float = Field(gt=0, lt=1)
    quantiles: dict[str, dict[str, float]]  # by language of the prompts, by aspect
    least_std: float = Field(default=LEAST_STD, gt=0)
    weights: str  # hash of the weights it was made with (`Rater.weights`); it says nothing of others
    measured: dict[str, object] = {}  # the clips it was made on, and coverage and width on others

    def interval(self, score: ScoreDistribution, aspect: str, language: str = "en") -> Interval | None:
        """The range of one aspect's label on 1-5, or None where nothing was calibrated."""
        quantile = self.quantiles.get(language, {}).get(aspect)
        if quantile is None:
            return None
        half = quantile * max(score.std, self.least_std)
        low, high = max(1.0, score.score - half), min(5.0, score.score + half)
        return Interval(low=round(low, 4), high=round(high, 4), coverage=self.coverage)
