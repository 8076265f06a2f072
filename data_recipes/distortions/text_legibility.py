"""Text burnt into the picture that is hard to read: small, faint, blurred, coded away, or all of these at once.

These kinds draw the lines of `Material.captions` themselves and take them off the list.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import cv2
import numpy as np

from data_recipes.distortions.base import Material, register
from data_recipes.distortions.captions import burn_in
from data_recipes.distortions.references import ERGONOMICS, GUIDELINES, LEGIT, LIVE_NFLX, SCREEN_CONTENT, WCAG
from data_recipes.distortions.text import TextKind
from data_recipes.distortions.video_codec import round_trip


class _Drawn(TextKind):
    """Letters drawn with the properties a level names; the others are those of legible captions."""

    draws: ClassVar[tuple[str, ...]]  # arguments of `burn_in`, in the order of a level's numbers

    def apply(self, material: Material, level: int, rng: np.random.Generator) -> Material:
        assert material.frames is not None
        value = self.value(level)
        numbers = value.values() if isinstance(value, dict) else [value]
        style = dict(zip(self.draws, numbers, strict=True))
        drawn = burn_in(material.frames, self.lines(material), material.fps, **style)
        return replace(material, frames=drawn, captions=[])


@register
class IllegibleText(_Drawn):
    kind = "illegible_text"
    levels = (
        {"height_percent": 4.5, "contrast": 7.0, "blur": 0.02},
        {"height_percent": 3.5, "contrast": 4.5, "blur": 0.04},
        {"height_percent": 2.5, "contrast": 3.0, "blur": 0.07},
        {"height_percent": 1.8, "contrast": 2.0, "blur": 0.1},
        {"height_percent": 1.2, "contrast": 1.3, "blur": 0.14},
    )
    unit = ""
    draws = ("height", "contrast", "blur")
    source = f"{WCAG}; {LEGIT}; {GUIDELINES}"


@register
class SmallText(_Drawn):
    kind = "small_text"
    levels = (4.5, 3.5, 2.5, 1.8, 1.2)
    unit = "height_percent"
    draws = ("height",)
    source = f"{ERGONOMICS}; {GUIDELINES}, size"
    on_request = True


@register
class FaintText(_Drawn):
    kind = "faint_text"
    levels = (7.0, 4.5, 3.0, 2.0, 1.3)
    unit = "contrast_ratio"
    draws = ("contrast",)
    source = WCAG
    on_request = True


@register
class BlurredText(_Drawn):
    kind = "blurred_text"
    levels = (0.03, 0.05, 0.08, 0.11, 0.16)
    unit = "sigma_share_of_height"
    draws = ("blur",)
    source = f"{ERGONOMICS}; {LEGIT}"
    on_request = True


@register
class CompressedText(TextKind):
    """The box around the letters goes through the lower rungs of a ladder: fewer pixels, then a coarse codec."""

    kind = "compressed_text"
    levels = (
        {"crf": 35, "downscale": 1.0},
        {"crf": 38, "downscale": 1.4},
        {"crf": 40, "downscale": 1.7},
        {"crf": 42, "downscale": 2.0},
        {"crf": 45, "downscale": 2.5},
    )
    unit = ""
    source = f"{SCREEN_CONTENT}; {LIVE_NFLX}; x264 veryfast at constant quality"
    on_request = True

    def apply(self, material: Material, level: int, rng: np.random.Generator) -> Material:
        frames = material.frames
        assert frames is not None
        out = burn_in(frames, self.lines(material), material.fps)
        inked = [np.argwhere((a != b).any(2)) for a, b in zip(frames, out, strict=True)]
        shown = np.array([len(places) > 0 for places in inked])
        if shown.any():
            places = np.concatenate(inked)
            (top, left), (bottom, right) = places.min(0), places.max(0) + 1
            value, box = self.value(level), out[shown, top:bottom, left:right]
            full = (box.shape[2], box.shape[1])
            small = tuple(max(1, round(side / value["downscale"])) for side in full)
            rung = np.stack([cv2.resize(f, small, interpolation=cv2.INTER_AREA) for f in box])
            options = {"preset": "veryfast", "crf": str(value["crf"])}
            coded = round_trip(rung, material.fps, "libx264", "h264", options)
            out[shown, top:bottom, left:right] = [cv2.resize(f, full, interpolation=cv2.INTER_CUBIC) for f in coded]
        return replace(material, frames=out, captions=[])
