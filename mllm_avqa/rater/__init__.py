"""From a path to a `Rating`: one file (`one`), many (`many`), questions on one (`chat`)."""

from mllm_avqa.corridor import pool_windows
from mllm_avqa.media.sources import Arrays
from mllm_avqa.model.checkpoint import resolve_checkpoint
from mllm_avqa.model.weights import weights_hash
from mllm_avqa.rater.chat import ChatSession
from mllm_avqa.rater.one import Rater
from mllm_avqa.schema.rating import RatingFailure

__all__ = ["Arrays", "ChatSession", "Rater", "RatingFailure", "pool_windows", "resolve_checkpoint", "weights_hash"]
