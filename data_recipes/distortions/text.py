"""Captions that say something else, come at another time, go too fast, or are missing.

`Material.captions` are lines not yet in the picture, and these kinds change that list only; `draw_captions` then puts
it into the frames (or `mux.write_clip` stores it as a subtitle stream).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from importlib import resources

import numpy as np

from data_recipes.distortions.base import Caption, Kind, Material, register
from data_recipes.distortions.captions import captions_of
from data_recipes.distortions.references import GUIDELINES, NER, READING


@lru_cache(maxsize=1)
def _vocabulary() -> tuple[str, ...]:
    """Words to put in place of others, from a small fixed list."""
    text = resources.files("data_recipes.distortions").joinpath("words.txt").read_text(encoding="utf-8")
    return tuple(text.split())


class TextKind(Kind):
    """A kind that needs captions, or a transcript to make them of."""

    modality = "text"
    source = GUIDELINES

    def lines(self, material: Material) -> list[Caption]:
        if material.captions or not material.transcript:
            return material.captions
        return captions_of(material.transcript, material.duration)

    def unusable(self, material: Material, level: int) -> str | None:
        reason = super().unusable(material, level)
        if reason is None and not self.lines(material):
            return f"text distortion {self.kind!r} needs captions or a transcript, this clip has neither"
        return reason


@register
class CaptionOffset(TextKind):
    kind = "caption_offset"
    levels = (0.5, 1.0, 2.0, 4.0, 8.0)
    unit = "seconds"
    source = f"{GUIDELINES}, timing: up to 0.5 s goes unnoticed"
    whole_clip = True

    def apply(self, material: Material, level: int, rng: np.random.Generator) -> Material:
        by, sign, duration = self.value(level), rng.choice([-1, 1]), material.duration
        for shift in (sign * by, -sign * by):  # the other way where this one moves every line out of the clip
            moved = [Caption(c.start + shift, c.end + shift, c.text) for c in self.lines(material)]
            if any(c.end > 0 and c.start < duration for c in moved):
                break
        return replace(material, captions=moved)

    def unusable(self, material: Material, level: int) -> str | None:
        reason = super().unusable(material, level)
        if reason is None:
            first = min(c.start for c in self.lines(material))
            last = max(c.end for c in self.lines(material))
            if max(last, material.duration - first) <= self.value(level):
                return f"caption offset of {self.value(level)} s leaves no line in a clip of {material.duration:.1f} s"
        return reason


@register
class CaptionMismatch(TextKind):
    kind = "caption_mismatch"
    levels = (0.05, 0.15, 0.3, 0.6, 1.0)
    unit = "share_of_words"
    source = f"{NER}; share of words that are wrong"

    def apply(self, material: Material, level: int, rng: np.random.Generator) -> Material:
        lines = self.lines(material)
        pieces = [re.split(r"(\w+(?:['’]\w+)*)", c.text) for c in lines]  # odd entries are the words
        places = [(i, j) for i, p in enumerate(pieces) for j in range(1, len(p), 2)]
        order = rng.permutation(len(places))
        words = rng.choice(_vocabulary(), len(places))
        for k in order[: max(1, round(self.value(level) * len(places)))]:
            i, j = places[k]
            old, new = pieces[i][j], str(words[k])
            if new == old.lower():
                new = _vocabulary()[_vocabulary().index(new) - 1]
            pieces[i][j] = new.capitalize() if old[:1].isupper() else new
        return replace(material, captions=[replace(c, text="".join(p)) for c, p in zip(lines, pieces, strict=True)])


@register
class CaptionSpeed(TextKind):
    kind = "caption_speed"
    levels = (17.0, 21.0, 25.0, 32.0, 45.0)
    unit = "characters_per_second"
    source = f"{GUIDELINES}, reading speed; {READING}"

    def apply(self, material: Material, level: int, rng: np.random.Generator) -> Material:
        # The line comes when it should and goes when the reading speed is reached; one already faster is left.
        speed = self.value(level)
        return replace(
            material,
            captions=[replace(c, end=min(c.end, c.start + len(c.text) / speed)) for c in self.lines(material)],
        )


@register
class MissingCaption(TextKind):
    kind = "missing_caption"
    levels = (0.05, 0.15, 0.3, 0.6, 1.0)
    unit = "share_of_caption_time"
    source = f"{GUIDELINES}; {NER}, omissions: share of the captioned time without captions"

    def apply(self, material: Material, level: int, rng: np.random.Generator) -> Material:
        lines = self.lines(material)
        missing = self.value(level) * sum(c.end - c.start for c in lines)
        kept: list[Caption] = []
        for k in rng.permutation(len(lines)):  # whole lines go first, the last one in part
            c = lines[k]
            gone = min(missing, c.end - c.start)
            missing -= gone
            if c.end - c.start - gone > 1e-6:
                kept.append(replace(c, start=c.start + gone))
        return replace(material, captions=sorted(kept, key=lambda c: c.start))
