"""Agreement of predictions with labels: rank, linear and mapped correlation, error, and how sure they are.

A number that the data do not give (constant predictions, fewer than `LEAST` clips) is undefined and says why; it is
never 0. Definitions follow ITU-T P.1401 and the VQEG reports; direction (higher is better) is applied by the caller.
"""

from eval.stats.compare import Comparison, Entrant, compare, holm, paired_bootstrap, steiger
from eval.stats.core import (
    LEAST,
    Number,
    kendall,
    mean,
    partial_spearman,
    pearson,
    residual_spearman,
    share,
    spearman,
    undefined,
)
from eval.stats.errors import Spread, outlier_ratio, rmse, rmse_free, rmse_star
from eval.stats.krasula import Discrimination, Pairs, area, discrimination
from eval.stats.mapping import MAPPINGS, PARAMETERS, Fit, Mapping, fit, map_linear, map_logistic4, mapped
from eval.stats.parts import Quartiles, Segment, content_splits, over_splits, segments
from eval.stats.resample import LEAST_GROUPS, Statistic, bootstrap, content_parts, interval, resampled
from eval.stats.summary import Agreement, agreement, average, number

__all__ = [
    "LEAST",
    "LEAST_GROUPS",
    "MAPPINGS",
    "PARAMETERS",
    "Agreement",
    "Comparison",
    "Discrimination",
    "Entrant",
    "Fit",
    "Mapping",
    "Number",
    "Pairs",
    "Quartiles",
    "Segment",
    "Spread",
    "Statistic",
    "agreement",
    "area",
    "average",
    "bootstrap",
    "compare",
    "content_parts",
    "content_splits",
    "discrimination",
    "fit",
    "holm",
    "interval",
    "kendall",
    "map_linear",
    "map_logistic4",
    "mapped",
    "mean",
    "number",
    "outlier_ratio",
    "over_splits",
    "paired_bootstrap",
    "partial_spearman",
    "pearson",
    "resampled",
    "residual_spearman",
    "rmse",
    "rmse_free",
    "rmse_star",
    "segments",
    "share",
    "spearman",
    "steiger",
    "undefined",
]
