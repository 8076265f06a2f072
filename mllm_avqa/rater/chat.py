"""`ChatSession`: questions on one clip, which is encoded once."""

from __future__ import annotations

from dataclasses import dataclass

from mllm_avqa.model.prompting import CHAT, Branch
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.schema.rating import Rating


@dataclass
class ChatSession:
    """Questions on one clip, encoded once. Earlier turns are not fed back: every answer is about the clip alone."""

    rating: Rating
    clip: EncodedClip

    def ask(self, question: str, max_tokens: int = 160) -> str:
        return self.clip.generate(Branch(CHAT, question, quoted=True), max_tokens)
