"""Ways to show a clip: those of the model card, and one modality alone, as a rater would get it that has no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from eval.held_out import CONDITIONS, without
from mllm_avqa.schema.text import TextContext
from mllm_avqa.windows import Prepared

SEEN = ("subtitle", "sidecar", "ocr")  # origins of texts that belong to the picture
HEARD = ("asr",)


def picture_only(p: Prepared) -> Prepared:
    """No sound, no fact about it or about timing, no transcript."""
    kept = [m for m in p.evidence if m.modality in ("video", "text")]
    return replace(without(p, sound=True), evidence=kept, context=_without(p.context, HEARD))


def sound_only(p: Prepared) -> Prepared:
    """No picture, no fact about it or about timing, no text that is seen."""
    kept = [m for m in p.evidence if m.modality == "audio"]
    return replace(without(p, picture=True), evidence=kept, context=_without(p.context, SEEN))


def _without(context: TextContext, origins: tuple[str, ...]) -> TextContext:
    return context.model_copy(update={"items": [i for i in context.items if i.origin not in origins]})


NEEDS = {"picture_only": "video", "sound_only": "audio"}  # what a clip must have for this to mean anything
SHOWN: dict[str, Callable[[Prepared], Prepared]] = {
    **CONDITIONS,
    "picture_only": picture_only,
    "sound_only": sound_only,
}
