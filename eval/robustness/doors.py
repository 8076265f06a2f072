"""The ways by which a stranger's text comes in with a clip."""

from __future__ import annotations

from dataclasses import replace

from mllm_avqa.context.clean import fit
from mllm_avqa.schema.text import TextContext, TextItem
from mllm_avqa.windows import Prepared

DOORS = ("title", "subtitle", "ocr", "asr")


def item(door: str, text: str, start: float, end: float) -> TextItem:
    """The text as the context room would find it at this door; start, end: seconds of the window."""
    if door == "title":
        return TextItem(origin="metadata", text=text, detail="title")
    if door == "subtitle":
        return TextItem(origin="subtitle", text=text, start=start, end=end, detail="stream=0")
    if door == "ocr":
        box = (0.1, 0.8, 0.9, 0.9)
        return TextItem(
            origin="ocr", text=text, start=start, end=end, box=box, confidence=0.98, detail="engine=rapidocr"
        )
    if door == "asr":
        return TextItem(origin="asr", text=text, start=start, end=end, detail="engine=whisper")
    raise ValueError(f"door {door!r} is not one of {', '.join(DOORS)}")


def through(p: Prepared, door: str, text: str) -> Prepared:
    """The window with this text first among those of its door, cleaned and capped like every found text.

    The rest of its texts stays, except another title. Facts about captions stay those of the file.
    """
    new = item(door, text, p.start, p.end)
    kept = [i for i in p.context.items if (i.origin, i.detail) != ("metadata", "title") or door != "title"]
    return replace(p, context=TextContext(items=fit([new, *kept])[0], sources=p.context.sources))
