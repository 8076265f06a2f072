"""mllm-avqa: rates the audio-visual quality of a clip the way people would, and explains why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Arrays", "Rater", "Rating", "__version__"]

if TYPE_CHECKING:
    from mllm_avqa.rater import Arrays, Rater
    from mllm_avqa.schema.rating import Rating


def __getattr__(name: str) -> Any:  # heavy imports (torch, transformers) wait until they are asked for
    if name in ("Arrays", "Rater"):
        from mllm_avqa import rater

        return getattr(rater, name)
    if name == "Rating":
        from mllm_avqa.schema.rating import Rating

        return Rating
    raise AttributeError(f"module 'mllm_avqa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
