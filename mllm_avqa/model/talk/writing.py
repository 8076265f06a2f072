"""Answers in the model's own words, for checkpoints that write freely: the rating's data stands before the question.

What they claim is read and checked like an explanation; a sentence that is contradicted does not reach the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mllm_avqa.model.prompting import CHAT, Branch
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.model.talk.answers import Answer, answer
from mllm_avqa.model.talk.reading import Query
from mllm_avqa.model.verdicts import check_claims
from mllm_avqa.schema.rating import Rating
from mllm_avqa.schema.words import load_prompts

FREE = "free"  # topic of an answer that only the model's own words give
TOLD = (
    "score", "faults", "helps", "why", "sync", "compare", "sure", "looked", "resolution", "frame_rate", "codec",
    "bitrate", "duration", "sampling", "quotes",
)  # topics whose answers are the data of a rating  # fmt: skip
TURNS = 6  # earlier turns that are told again


def write_answer(
    clip: EncodedClip,
    question: str,
    given: Answer,
    rating: Rating,
    language: str,
    turns: Sequence[tuple[str, Answer]],
    max_tokens: int,
) -> Answer:
    """What the model writes behind its clip. given: what the data alone answer, kept where nothing of it holds."""
    asked = _asked(question, given, rating, language, turns)
    written = clip.generate(Branch(CHAT, asked, quoted=True), max_tokens)
    kept = [c.text for c in check_claims(written, rating, language) if c.support != "contradicted"]
    words = load_prompts("chat", language)
    if kept:
        return replace(given, text=words["sentences"].join(kept), topic=given.topic or FREE)
    return given if not given.refused or not written else Answer(words["withdrawn"], FREE)


def _asked(question: str, given: Answer, rating: Rating, language: str, turns: Sequence[tuple[str, Answer]]) -> str:
    """Data, turns and question, as text of strangers: a title quoted in it can write no control token."""
    data = load_prompts("chat", language)["data"]
    told = [data["turn"].format(question=q, answer=a.text) for q, a in turns[-TURNS:]]
    own = [] if given.refused else [given.text]
    return "\n".join([data["intro"], *_data(rating, language), *told, *own, question])


def _data(rating: Rating, language: str) -> Iterator[str]:
    for topic in TOLD:
        yield answer(Query("", language, topic), rating).text
