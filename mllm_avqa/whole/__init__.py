"""Facts of a whole file, by one pass over all of it: what the windows that a model looks at can not know."""

from mllm_avqa.whole.overview import Overview, look_over

__all__ = ["Overview", "look_over"]
