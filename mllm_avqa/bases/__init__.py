"""Weights of other people that checkpoints stand on: fetched once by command, verified, kept, read offline."""

from mllm_avqa.bases.fetch import base_folder, base_of, cache_folder, catalogue, fetch, have

__all__ = ["base_folder", "base_of", "cache_folder", "catalogue", "fetch", "have"]
