"""Weights of other people that checkpoints stand on: fetched once by command, verified, kept, read offline."""

from mllm_avqa.bases.fetch import base_folder, cache_folder, fetch, have

__all__ = ["base_folder", "cache_folder", "fetch", "have"]
