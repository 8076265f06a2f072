"""Batch scoring: many clips into one JSONL, CSV or Parquet file."""

from mllm_avqa.batch.engine import BatchOptions, BatchResult, check_options, run_batch
from mllm_avqa.batch.rows import COLUMNS, FlatRow

__all__ = ["COLUMNS", "BatchOptions", "BatchResult", "FlatRow", "check_options", "run_batch"]
