"""`/v1/chat/completions` and `/v1/models`: questions about a clip, as clients of the OpenAI protocol ask them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from mllm_avqa.media import content_hash
from mllm_avqa.model.prompting import aspect_branch, load_prompts
from mllm_avqa.rater import ChatSession
from mllm_avqa.schema.errors import AvqaError, ConfigError, typed
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.serving import bodies
from mllm_avqa.serving.arrivals import Delivered, decoded
from mllm_avqa.serving.house import House
from mllm_avqa.serving.orders import nameless
from mllm_avqa.serving.protocol import ChatRequest, Completion, SoundBody, token_entry
from mllm_avqa.serving.refusals import NotHeld, WrongValue, as_json, status_of

_HELD = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Talk:
    """A held clip and what is asked of it. aspect: the question is the one its score is read behind."""

    session: ChatSession
    question: str
    aspect: str | None
    language: str


def chat_routes(house: House) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/models")
    async def models(request: Request) -> Response:
        house.owner(request)
        return JSONResponse({"object": "list", "data": [_model(house)]})

    @router.get("/v1/models/{name}")
    async def model(request: Request, name: str) -> Response:
        house.owner(request)
        check_model(house, name)
        return JSONResponse(_model(house))

    @router.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        owner = house.owner(request)
        place = house.enter()
        try:
            bounds = house.bounds
            body = await bodies.json_of(request, ChatRequest, bounds.json_bytes, bounds.body_seconds)
            check_model(house, body.model)
            talk, answer, clip = await _talk(house, body, owner)
            told = _Told(house, body, talk, answer)
            if body.stream:
                stream = told.stream(clip, place.leave)
                first = await anext(stream)  # what goes wrong before has a status of its own
                return StreamingResponse(_after(first, stream), media_type="text/event-stream")
            whole = await told.whole(request, clip)
        except BaseException:
            place.leave()
            raise
        place.leave()
        return JSONResponse(whole)

    return router


def _model(house: House) -> dict[str, Any]:
    rater = house.desk.rater
    return {
        "id": rater.card.name,
        "object": "model",
        "created": house.started,
        "owned_by": "mllm-avqa",
        "fingerprint": rater.fingerprint,
        "languages": list(rater.card.languages),
    }


def check_model(house: House, name: str) -> None:
    here = house.desk.rater.card.name
    if name != here:
        raise NotHeld(f"there is no model {name[:60]!r} here, only {here!r}", param="model")


async def _talk(house: House, body: ChatRequest, owner: str) -> tuple[Talk, Completion, str]:
    """The clip of a request held for questions: from the cache, or read and encoded now."""
    try:
        question, clip = body.question, body.clip
    except ValueError as e:
        raise WrongValue(str(e), param="messages") from None
    language = house.spoken(body.lang)
    aspect = _aspect_of(question)
    if not question:
        question = load_prompts("rating", language)["aspects"]["overall"]["question"]
        aspect = "overall"
    if body.logprobs and aspect is None:
        asked = [q["question"] for q in load_prompts("rating", language)["aspects"].values()]
        raise WrongValue(f"logprobs are of level tokens: ask one of {', '.join(asked)}", param="logprobs")
    known = _HELD.fullmatch(clip) if isinstance(clip, str) else None
    delivered = None if known else await _arrived(house, clip)
    rater = house.desk.raters[language]
    try:
        digest = known[1] if known else await asyncio.to_thread(content_hash, _path(delivered), rater.reader.limits)
        key = house.desk.key(owner, digest, language)
        path = delivered.path if delivered else None
        session, cached = await asyncio.wrap_future(house.desk.call(lambda: house.desk.session(key, path, language)))
    except AvqaError as e:
        raise nameless(e, delivered) if delivered else e from None
    finally:
        if delivered is not None:
            delivered.discard()
    session = replace(session, turns=[])  # whose talk it was is nobody else's
    if aspect is None and body.asked_before:
        await asyncio.wrap_future(house.desk.call(lambda: _again(session, body.asked_before)))
    tokens = session.asked_tokens(question)
    prints = hashlib.sha256(json.dumps(rater.fingerprint, sort_keys=True).encode()).hexdigest()[:16]
    answer = Completion(rater.card.name, f"fp_{prints}", tokens, session.clip.row.prefix_length if cached else 0)
    if body.return_token_ids and aspect is not None:
        answer.prompt = session.prompt(aspect, language)
    return Talk(session, question, aspect, language), answer, f"sha256:{digest}"


def _again(session: ChatSession, questions: Sequence[str]) -> None:
    """The turns before, so that a question may refer to them; one that was refused then is passed over now."""
    for question in questions:
        with suppress(ConfigError):
            session.ask(question)


def _path(delivered: Delivered | None) -> Path:
    assert delivered is not None
    return delivered.path


async def _arrived(house: House, clip: str | SoundBody) -> Delivered:
    if isinstance(clip, SoundBody):
        return house.arrivals.write(await asyncio.to_thread(decoded, clip.data))
    return await house.arrivals.named(clip)


def _aspect_of(question: str) -> str | None:
    """The aspect whose score this very question asks for, in any language."""
    for language in LANGUAGES:
        for aspect, words in load_prompts("rating", language)["aspects"].items():
            if question == words["question"]:
                return str(aspect)
    return None


@dataclass(frozen=True)
class _Told:
    """Writes one answer, whole or piece by piece."""

    house: House
    body: ChatRequest
    talk: Talk
    answer: Completion

    async def whole(self, request: Request, clip: str) -> dict[str, Any]:
        gone = threading.Event()
        work = asyncio.wrap_future(self.house.desk.call(lambda: list(self._pieces(gone))))
        while not (await asyncio.wait({work}, timeout=0.5))[0]:
            if await request.is_disconnected():
                gone.set()
        pieces = work.result()
        self._count()
        entries = [e for _, e in pieces if e is not None]
        return self.answer.whole("".join(t for t, _ in pieces), entries if self.body.logprobs else None, clip)

    async def stream(self, clip: str, leave: Callable[[], None]) -> AsyncGenerator[str, None]:
        loop, gone = asyncio.get_running_loop(), threading.Event()
        pieces: asyncio.Queue[Any] = asyncio.Queue()

        def work() -> None:
            for piece in self._pieces(gone):
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        done = self.house.desk.call(work)
        done.add_done_callback(lambda f: loop.call_soon_threadsafe(leave))  # however slowly it is read
        done.add_done_callback(lambda f: loop.call_soon_threadsafe(pieces.put_nowait, f.exception()))
        try:
            begun = False
            while isinstance(piece := await pieces.get(), tuple):
                text, entry = piece
                role = {} if begun else {"role": "assistant"}
                if text or not begun:
                    yield _event(self.answer.chunk(role | {"content": text}, None if entry is None else [entry]))
                begun = True
            if piece is not None:
                if not begun:
                    raise piece
                error = typed(piece)
                yield _event(as_json(error, status_of(error)))
                return
            yield _event(self.answer.chunk({}, finish=self.answer.finish) | {"clip": clip})
            if self.body.stream_options is not None and self.body.stream_options.include_usage:
                yield _event(self.answer.bill())
            self._count()
            yield "data: [DONE]\n\n"
        finally:
            gone.set()  # who stops listening stops the writing
            leave()

    def _count(self) -> None:
        meters = self.house.meters
        meters.answers.inc()
        meters.tokens.labels("asked").inc(self.answer.asked)
        meters.tokens.labels("answered").inc(self.answer.answered)

    # ---- in the desk's thread ---------------------------------------------------------------------------------------

    def _pieces(self, gone: threading.Event) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """Pieces of the answer; of a score, those of the level token have their log-probability."""
        if self.talk.aspect is not None:
            yield from self._score(self.talk.aspect)
            return
        most = self.body.most_tokens
        for piece in self.talk.session.stream(self.talk.question, most):
            if self.answer.answered == most:
                self.answer.finish = "length"
                return
            self.answer.answered += 1
            yield piece, None
            if gone.is_set():
                return

    def _score(self, aspect: str) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """The answer to the question of an aspect: its stem and the level of the clip's score, or why there is none."""
        talk, rater = self.talk, self.house.desk.raters[self.talk.language]
        found = talk.session.rating.scores[aspect]
        if found is None:
            yield talk.session.rating.missing[aspect], None
            return
        words = rater.card.level_words
        if len(talk.session.rating.windows) == 1:  # exactly; of several windows the pooled score, as it is told
            branches = [aspect_branch(aspect, talk.language, level=w) for w in words]
            given = [told[0] for told in rater.corridor.likelihoods(talk.session.clip, branches)]
        else:
            given = [math.log(max(p * found.mass, 1e-30)) for p in found.probs.values()]
        top = sorted(zip((f" {w}" for w in words), given, strict=True), key=lambda t: -t[1])
        level = dict(zip(found.probs, words, strict=True))[found.level]
        self.answer.answered = 2
        yield aspect_branch(aspect, talk.language).stem, None
        yield f" {level}", token_entry(f" {level}", dict(top)[f" {level}"], top[: self.body.top_logprobs or 0])
        yield ".", None


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _after(first: str, rest: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    try:
        yield first
        async for piece in rest:
            yield piece
    finally:
        await rest.aclose()
