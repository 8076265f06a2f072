"""Seeing what the distortion kinds do, at every level, on a clip of your own (`python -m data_recipes preview`)."""

from data_recipes.preview.page import Preview, preview, write_page

__all__ = ["Preview", "preview", "write_page"]
