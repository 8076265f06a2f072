"""A subtitle line and the removal of its styling."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OVERRIDE = re.compile(r"\{[^{}]*\}")
_DRAWING = re.compile(r"\\p[1-9]")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


@dataclass(frozen=True)
class Cue:
    """One subtitle line. Times are seconds on the same clock as the frames; `text` is a stranger's, without tags."""

    start: float
    end: float
    text: str
    stream: int  # index of the stream in the file
    language: str | None = None


def plain_text(event: str) -> str:
    """Text of an ASS event "order,layer,style,name,left,right,vertical,effect,text" without override tags.

    Vector drawings (`\\p1`) give an empty string; `\\N` becomes a line break.
    """
    text = event.split(",", 8)[-1]
    if any(_DRAWING.search(tag) for tag in _OVERRIDE.findall(text)):
        return ""
    text = _OVERRIDE.sub("", text).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return _TAG.sub("", text).strip()
