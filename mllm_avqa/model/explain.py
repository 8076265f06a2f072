"""The explanation of a rating: how a model is asked to write it. Its claims are checked in `verdicts`."""

from __future__ import annotations

from collections.abc import Mapping

from mllm_avqa.model.claims import sentences
from mllm_avqa.model.prompting import explain_branch, list_branch
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.model.verdicts import check_claims
from mllm_avqa.schema.rating import ScoreDistribution

__all__ = ["MOST_TOKENS", "check_claims", "sentences", "write"]
MOST_TOKENS = 160  # of an explanation
MOST_LISTED = 48  # tokens of the list of a side's faults


def write(
    clip: EncodedClip,
    scores: Mapping[str, ScoreDistribution | None],
    language: str,
    lists_faults: bool,
    max_tokens: int = MOST_TOKENS,
) -> str:
    """The explanation of a scored clip. lists_faults: `Card.lists_faults`.

    A model that was taught to is first asked for the faults of each side, which it answers from that side alone, and
    writes with its own answers before it.
    """
    levels = {a: s.level for a, s in scores.items() if s is not None}
    faults: dict[str, str] = {}
    if lists_faults:
        faults = {a: clip.generate(list_branch(a, language), MOST_LISTED) for a in levels if a != "overall"}
    return clip.generate(explain_branch(levels, language, faults=faults), max_tokens)
