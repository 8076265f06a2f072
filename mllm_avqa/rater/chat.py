"""`ChatSession`: questions on one clip, which is encoded once."""

from __future__ import annotations

from collections.abc import Iterator
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
        return self.clip.generate(_asked(question), max_tokens)

    def stream(self, question: str, max_tokens: int = 160) -> Iterator[str]:
        """The answer of `ask` as it is written: one piece a token, empty where a token ends no character."""
        ids: list[int] = []
        told = ""
        for token in self.clip.tokens(_asked(question), max_tokens):
            ids.append(token)
            text = self.clip.backbone.tokenizer.decode(ids, skip_special_tokens=True).strip()
            piece = text[len(told) :] if not text.endswith("\N{REPLACEMENT CHARACTER}") else ""
            told += piece
            yield piece

    def asked_tokens(self, question: str) -> int:
        """Tokens in front of an answer: the clip's, which are encoded already, and the question's."""
        return self.clip.row.prefix_length + len(self.clip.backbone.encode_branch(_asked(question)).ids)


def _asked(question: str) -> Branch:
    return Branch(CHAT, question, quoted=True)
