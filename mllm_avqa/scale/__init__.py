"""Clusters: rows in, rows out, through the same rater. Ray is the extra `ray`; `rate_rows` serves other engines."""

from mllm_avqa.scale.dataset import Cluster, rate_dataset
from mllm_avqa.scale.engine import VllmEngines
from mllm_avqa.scale.rows import RowSettings, rate_rows

__all__ = ["Cluster", "RowSettings", "VllmEngines", "rate_dataset", "rate_rows"]
