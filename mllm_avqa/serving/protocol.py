"""The part of the OpenAI chat protocol that this server speaks: what it reads, and what it writes.

https://platform.openai.com/docs/api-reference/chat; video_url and audio_url as vLLM has them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_TOKENS = 512  # of an answer
_QUESTION = 1000  # characters, as many as a talk takes
_TURNS = 8  # of the talk before a question


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Strict):
    type: Literal["text"]
    text: str


class LinkBody(_Strict):
    url: str
    detail: str | None = None  # of pictures; changes nothing


class SoundBody(_Strict):
    data: str
    format: str = "wav"  # the content says what it is


class VideoPart(_Strict):
    type: Literal["video_url"]
    video_url: LinkBody


class AudioPart(_Strict):
    type: Literal["audio_url"]
    audio_url: LinkBody


class ImagePart(_Strict):
    type: Literal["image_url"]
    image_url: LinkBody


class SoundPart(_Strict):
    type: Literal["input_audio"]
    input_audio: SoundBody


ContentPart = Annotated[TextPart | VideoPart | AudioPart | ImagePart | SoundPart, Field(discriminator="type")]


class ChatMessage(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        if not isinstance(self.content, list):
            return (self.content or "").strip()
        return "\n".join(p.text for p in self.content if isinstance(p, TextPart)).strip()

    @property
    def clips(self) -> list[str | SoundBody]:
        """Clips of the message, by address or content."""
        found: list[str | SoundBody] = []
        for p in self.content if isinstance(self.content, list) else []:
            if isinstance(p, VideoPart):
                found.append(p.video_url.url)
            elif isinstance(p, AudioPart):
                found.append(p.audio_url.url)
            elif isinstance(p, ImagePart):
                found.append(p.image_url.url)
            elif isinstance(p, SoundPart):
                found.append(p.input_audio)
        return found


class StreamOptions(_Strict):
    include_usage: bool = False


class ChatRequest(_Strict):
    """The last message is the question, the last clip what it is about. Answers are greedy: nothing is drawn."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=256)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    n: Literal[1] | None = None
    lang: str | None = None  # of this server: language of question and answer
    return_token_ids: bool | None = None  # of vLLM: tell the prompt of an aspect's question
    # taken and without effect
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    user: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None

    @property
    def most_tokens(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 160

    @property
    def question(self) -> str:
        """The text of the last message. Raises ValueError with what is wrong with it."""
        last = self.messages[-1]
        if last.role != "user":
            raise ValueError("the last message must be the user's")
        if len(last.text) > _QUESTION:
            raise ValueError(f"a question of {len(last.text)} characters, allowed are {_QUESTION}")
        return last.text

    @property
    def asked_before(self) -> list[str]:
        """What the user asked in the messages before, the last few of them."""
        before = [m.text for m in self.messages[:-1] if m.role == "user" and 0 < len(m.text) <= _QUESTION]
        return before[-_TURNS:]

    @property
    def clip(self) -> str | SoundBody:
        """What the question is about. Raises ValueError where there is none, or several in one message."""
        for message in reversed(self.messages):
            if len(message.clips) > 1:
                raise ValueError("a message holds one clip at most; a clip has its sound in itself")
            if message.clips:
                return message.clips[0]
        raise ValueError("no message holds a clip: video_url, audio_url, input_audio or image_url")


@dataclass
class Completion:
    """One answer in the making, and its forms on the wire."""

    model: str
    fingerprint: str
    asked: int  # tokens in front of the answer
    cached: int  # of them, those that were encoded before
    id: str = field(default_factory=lambda: f"chatcmpl-{token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    answered: int = 0
    finish: str = "stop"
    prompt: list[int] | None = None  # token ids, where they were asked for

    @property
    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.asked,
            "completion_tokens": self.answered,
            "total_tokens": self.asked + self.answered,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    def whole(self, text: str, logprobs: Sequence[dict[str, Any]] | None, clip: str) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None if logprobs is None else {"content": list(logprobs), "refusal": None},
            "finish_reason": self.finish,
        }
        told = {} if self.prompt is None else {"prompt_token_ids": self.prompt}
        return self._head("chat.completion") | {"choices": [choice], "usage": self.usage, "clip": clip} | told

    def chunk(
        self, delta: dict[str, Any], logprobs: Sequence[dict[str, Any]] | None = None, finish: str | None = None
    ) -> dict[str, Any]:
        told = None if logprobs is None else {"content": list(logprobs), "refusal": None}
        choice = {"index": 0, "delta": delta, "logprobs": told, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def bill(self) -> dict[str, Any]:
        """The last chunk, where usage was asked for."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def token_entry(token: str, logprob: float, top: Sequence[tuple[str, float]] = ()) -> dict[str, Any]:
    """A token with its log-probability, and those that might have stood there."""

    def entry(t: str, lp: float) -> dict[str, Any]:
        return {"token": t, "logprob": lp, "bytes": list(t.encode())}

    return entry(token, logprob) | {"top_logprobs": [entry(t, lp) for t, lp in top]}
