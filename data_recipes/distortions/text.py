"""Captions that say something else, come at another time, go too fast, are missing, or are hard to read.

`Material.captions` are lines not yet in the picture. The first kinds change that list only; `draw_captions` then puts
it into the frames (or `mux.write_clip` stores it as a subtitle stream). Those of legibility draw the lines themselves
and take them off the list.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache, partial
from importlib import resources
from typing import Any

import cv2
import numpy as np

from data_recipes.distortions import references as ref
from data_recipes.distortions.base import STANDARD, Caption, Kind, Material, Rng, fault
from data_recipes.distortions.captions import burn_in, captions_of


@lru_cache(maxsize=1)
def _vocabulary() -> tuple[str, ...]:
    """Words to put in place of others, from a small fixed list."""
    text = resources.files("data_recipes.distortions").joinpath("words.txt").read_text(encoding="utf-8")
    return tuple(text.split())


def lines_of(material: Material) -> list[Caption]:
    """The captions, or the transcript as captions."""
    if material.captions or not material.transcript:
        return material.captions
    return captions_of(material.transcript, material.duration)


def _no_lines(k: Kind, material: Material, level: int) -> str | None:
    told = f"text distortion {k.kind!r} needs captions or a transcript, this clip has neither"
    return None if lines_of(material) else told


def _no_line_left(k: Kind, material: Material, level: int) -> str | None:
    lines, by = lines_of(material), k.value(level)
    if not lines:
        return _no_lines(k, material, level)
    if max(*(c.end for c in lines), material.duration - min(c.start for c in lines)) > by:
        return None
    return f"caption offset of {by} s leaves no line in a clip of {material.duration:.1f} s"


_text = partial(fault, modality="text", needs=_no_lines)


@_text(
    "caption_offset",
    levels=(0.5, 1.0, 2.0, 4.0, 8.0),
    unit="seconds",
    source=f"{ref.GUIDELINES}, timing: up to 0.5 s goes unnoticed",
    needs=_no_line_left,
    whole_clip=True,
    ladder=(4.6, 4.1, 3.2, 2.2, 1.4),
)
def caption_offset(material: Material, value: float, rng: Rng) -> Material:
    sign, duration = rng.choice([-1, 1]), material.duration
    for shift in (sign * value, -sign * value):  # the other way where this one moves every line out of the clip
        moved = [Caption(c.start + shift, c.end + shift, c.text) for c in lines_of(material)]
        if any(c.end > 0 and c.start < duration for c in moved):
            break
    return replace(material, captions=moved)


@_text(
    "caption_mismatch",
    levels=(0.05, 0.15, 0.3, 0.6, 1.0),
    unit="share_of_words",
    source=f"{ref.NER}; share of words that are wrong",
    ladder=(4.3, 3.6, 2.7, 1.8, 1.2),
)
def caption_mismatch(material: Material, value: float, rng: Rng) -> Material:
    lines = lines_of(material)
    pieces = [re.split(r"(\w+(?:['’]\w+)*)", c.text) for c in lines]  # odd entries are the words
    places = [(i, j) for i, p in enumerate(pieces) for j in range(1, len(p), 2)]
    order = rng.permutation(len(places))
    words = rng.choice(_vocabulary(), len(places))
    for k in order[: max(1, round(value * len(places)))]:
        i, j = places[k]
        old, new = pieces[i][j], str(words[k])
        if new == old.lower():
            new = _vocabulary()[_vocabulary().index(new) - 1]
        pieces[i][j] = new.capitalize() if old[:1].isupper() else new
    return replace(material, captions=[replace(c, text="".join(p)) for c, p in zip(lines, pieces, strict=True)])


@_text(
    "caption_speed",
    levels=(17.0, 21.0, 25.0, 32.0, 45.0),
    unit="characters_per_second",
    source=f"{ref.GUIDELINES}, reading speed; {ref.READING}",
    ladder=(4.6, 4.1, 3.5, 2.7, 2.0),
)
def caption_speed(material: Material, value: float, rng: Rng) -> Material:
    # The line comes when it should and goes when the reading speed is reached; one already faster is left.
    return replace(
        material,
        captions=[replace(c, end=min(c.end, c.start + len(c.text) / value)) for c in lines_of(material)],
    )


@_text(
    "missing_caption",
    levels=(0.05, 0.15, 0.3, 0.6, 1.0),
    unit="share_of_caption_time",
    source=f"{ref.GUIDELINES}; {ref.NER}, omissions: share of the captioned time without captions",
    ladder=(4.3, 3.6, 2.8, 1.9, 1.2),
)
def missing_caption(material: Material, value: float, rng: Rng) -> Material:
    lines = lines_of(material)
    missing = value * sum(c.end - c.start for c in lines)
    kept: list[Caption] = []
    for k in rng.permutation(len(lines)):  # whole lines go first, the last one in part
        c = lines[k]
        gone = min(missing, c.end - c.start)
        missing -= gone
        if c.end - c.start - gone > 1e-6:
            kept.append(replace(c, start=c.start + gone))
    return replace(material, captions=sorted(kept, key=lambda c: c.start))


def _drawn(material: Material, value: Any, rng: Rng, draws: tuple[str, ...]) -> Material:
    """Letters drawn with the properties a level names; the others are those of legible captions.

    draws: arguments of `burn_in`, in the order of a level's numbers.
    """
    assert material.frames is not None
    numbers = value.values() if isinstance(value, dict) else [value]
    style = dict(zip(draws, numbers, strict=True))
    return replace(material, frames=burn_in(material.frames, lines_of(material), material.fps, **style), captions=[])


_letters = partial(_text, alike="letters", ladder=STANDARD)
_WORSE = ((4.5, 7.0, 0.02), (3.5, 4.5, 0.04), (2.5, 3.0, 0.07), (1.8, 2.0, 0.1), (1.2, 1.3, 0.14))
_letters(
    "illegible_text",
    levels=tuple({"height_percent": h, "contrast": c, "blur": b} for h, c, b in _WORSE),
    unit="",
    source=f"{ref.WCAG}; {ref.LEGIT}; {ref.GUIDELINES}",
)(partial(_drawn, draws=("height", "contrast", "blur")))
_letters(
    "small_text",
    levels=(4.5, 3.5, 2.5, 1.8, 1.2),
    unit="height_percent",
    source=f"{ref.ERGONOMICS}; {ref.GUIDELINES}, size",
    on_request=True,
)(partial(_drawn, draws=("height",)))
_letters("faint_text", levels=(7.0, 4.5, 3.0, 2.0, 1.3), unit="contrast_ratio", source=ref.WCAG, on_request=True)(
    partial(_drawn, draws=("contrast",))
)
_letters(
    "blurred_text",
    levels=(0.03, 0.05, 0.08, 0.11, 0.16),
    unit="sigma_share_of_height",
    source=f"{ref.ERGONOMICS}; {ref.LEGIT}",
    on_request=True,
)(partial(_drawn, draws=("blur",)))

_RUNGS = ((35, 1.0), (38, 1.4), (40, 1.7), (42, 2.0), (45, 2.5))


@_letters(
    "compressed_text",
    levels=tuple({"crf": c, "downscale": d} for c, d in _RUNGS),
    unit="",
    source=f"{ref.SCREEN_CONTENT}; {ref.LIVE_NFLX}; x264 veryfast at constant quality",
    on_request=True,
)
def compressed_text(material: Material, value: dict[str, Any], rng: Rng) -> Material:
    """The box around the letters goes through the lower rungs of a ladder: fewer pixels, then a coarse codec."""
    from data_recipes.distortions.video_codec import round_trip

    frames = material.frames
    assert frames is not None
    out = burn_in(frames, lines_of(material), material.fps)
    inked = [np.argwhere((a != b).any(2)) for a, b in zip(frames, out, strict=True)]
    shown = np.array([len(places) > 0 for places in inked])
    if shown.any():
        places = np.concatenate(inked)
        (top, left), (bottom, right) = places.min(0), places.max(0) + 1
        box = out[shown, top:bottom, left:right]
        full = (box.shape[2], box.shape[1])
        small = tuple(max(1, round(side / value["downscale"])) for side in full)
        rung = np.stack([cv2.resize(f, small, interpolation=cv2.INTER_AREA) for f in box])
        options = {"preset": "veryfast", "crf": str(value["crf"])}
        coded = round_trip(rung, material.fps, "libx264", "h264", options)
        out[shown, top:bottom, left:right] = [cv2.resize(f, full, interpolation=cv2.INTER_CUBIC) for f in coded]
    return replace(material, frames=out, captions=[])
