"""`ChatSession`: a talk about one clip, which is encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mllm_avqa.model.prompting import CHAT, LANGUAGES, Branch, aspect_branch
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.model.talk.answers import Answer, answer
from mllm_avqa.model.talk.reading import language_of, read
from mllm_avqa.model.talk.writing import write_answer
from mllm_avqa.schema.rating import Rating

MOST_TOKENS = 160  # of an answer in the model's own words


@dataclass
class ChatSession:
    """Questions on one clip and its rating, each in its own language, with those before in mind.

    free_text: the checkpoint answers in its own words, behind its clip, the data of the rating and the turns before;
    other checkpoints answer from the rating's data in the sentences of prompts/chat.<language>.yaml.
    """

    rating: Rating
    clip: EncodedClip
    languages: Sequence[str] = LANGUAGES  # that the checkpoint has
    free_text: bool = False
    turns: list[tuple[str, Answer]] = field(default_factory=list)

    def ask(self, question: str, max_tokens: int = MOST_TOKENS) -> str:
        """The answer to a question. Raises ConfigError for one that is too long or in an unknown language."""
        return self.answer(question, max_tokens).text

    def answer(self, question: str, max_tokens: int = MOST_TOKENS) -> Answer:
        """The answer with what it is about, or that it was refused."""
        spoken = language_of(question.strip(), self.languages, self.rating.language)
        given = answer(read(question.strip(), spoken), self.rating, [a for _, a in self.turns])
        if self.free_text:
            given = write_answer(self.clip, question, given, self.rating, spoken, self.turns, max_tokens)
        self.turns.append((question, given))
        return given

    def stream(self, question: str, max_tokens: int = MOST_TOKENS) -> Iterator[str]:
        """The answer of `ask` in pieces, one a token; empty where a token ends no character.

        It is whole before the first piece: what it claims was checked.
        """
        tokenizer, told = self.clip.backbone.tokenizer, ""
        text = self.ask(question, max_tokens)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        for n in range(1, len(ids)):
            said = tokenizer.decode(ids[:n])
            piece = said[len(told) :] if text.startswith(said) else ""
            told += piece
            yield piece
        yield text[len(told) :]

    def prompt(self, aspect: str, language: str) -> list[int]:
        """Token ids in front of the level of an aspect, of the window that is held."""
        row, branch = self.clip.row, self.clip.backbone.encode_branch(aspect_branch(aspect, language))
        seen = row.ids[: row.prefix_length][row.visible_from[aspect]]
        return [*seen.tolist(), *branch.ids[: branch.stem_end + 1]]

    def asked_tokens(self, question: str) -> int:
        """Tokens in front of an answer: the clip's, which are encoded already, and the question's."""
        branch = self.clip.backbone.encode_branch(Branch(CHAT, question, quoted=True))
        return self.clip.row.prefix_length + len(branch.ids)
