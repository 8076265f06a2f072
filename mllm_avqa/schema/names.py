"""Names that everything else is keyed by, each list spelled once."""

from __future__ import annotations

from typing import Literal, get_args

Aspect = Literal["overall", "video", "audio", "sync", "text"]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
Side = Literal["video", "audio", "sync", "text"]  # what a fault can be in; of each there is one aspect
SIDES: tuple[Side, ...] = get_args(Side)
ContextLevel = Literal["none", "fast", "full"]  # how much of a clip's text is read
CONTEXT_LEVELS: tuple[ContextLevel, ...] = get_args(ContextLevel)
Language = Literal["en", "zh"]  # of what people read: explanations, reasons, reports
LANGUAGES: tuple[Language, ...] = get_args(Language)

Withheld = Literal["facts", "pixels", "sound", "context"]  # what a model can be kept from, to see what scores rest on
WITHHELD: tuple[Withheld, ...] = get_args(Withheld)
