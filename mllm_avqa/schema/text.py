"""Text that comes with a clip. All of it was written by strangers: it is data, never instructions."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Origin = Literal["metadata", "subtitle", "sidecar", "user", "ocr", "asr"]
Status = Literal["ok", "absent", "unavailable", "skipped"]
BEYOND = "beyond the limits are not read"  # in a status: of what lies beside a clip, some was left out
REPAIRED = "times repaired"  # in `detail` of a cue whose times were impossible; `caption_measurements` counts them
SCENE = "on a thing in the scene"  # in `detail` of words read on a frame that are no caption


class TextItem(BaseModel):
    """One piece of text; times in seconds on the clip's clock, None where it holds for the whole file."""

    model_config = ConfigDict(extra="forbid")

    origin: Origin
    text: str
    start: float | None = None
    end: float | None = None
    detail: str = ""  # e.g. the metadata key, the sidecar's name, "engine=rapidocr"
    box: tuple[float, float, float, float] | None = None  # OCR: x0, y0, x1, y1, fractions of the frame
    confidence: float | None = None
    words: list[tuple[float, float, str]] = []  # of speech: start, end, word, where the recogniser times them

    @property
    def caption(self) -> bool:
        """Is it laid over the picture, to be read by who watches?"""
        return self.origin in ("subtitle", "sidecar") or (self.origin == "ocr" and SCENE not in self.detail)


class SourceStatus(BaseModel):
    """What became of one origin: `ok`, `absent` (nothing there), `unavailable` or `skipped` (detail says why)."""

    model_config = ConfigDict(extra="forbid")

    origin: Origin
    status: Status
    detail: str = ""


class TextContext(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: list[TextItem] = []
    sources: list[SourceStatus] = []
