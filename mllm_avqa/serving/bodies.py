"""Bodies of requests, read within bytes and seconds: a form with a file, or JSON."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from mllm_avqa.schema.errors import MediaTooLarge
from mllm_avqa.serving.refusals import RequestRefused, SlowBody, UnsupportedBody, WrongValue

Body = TypeVar("Body", bound=BaseModel)
_FIELD = 20_000  # bytes of a field of a form that is no file


async def chunks(request: Request, most: int, seconds: float, flag: str) -> AsyncGenerator[bytes, None]:
    """The body in pieces. Raises MediaTooLarge beyond `most` bytes and SlowBody after `seconds`."""
    told = request.headers.get("content-length", "0")
    size = 0
    if told.isdigit() and int(told) > most:
        raise MediaTooLarge(f"a body of {told} bytes, allowed are {most} ({flag})")
    stream, end = request.stream(), time.monotonic() + seconds
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), end - time.monotonic())
        except TimeoutError:
            raise SlowBody(f"the body did not arrive within {seconds:g} s (--body-seconds)") from None
        except StopAsyncIteration:
            return
        size += len(piece)
        if size > most:
            raise MediaTooLarge(f"a body of more than {most} bytes ({flag})")
        yield piece


def kind_of(request: Request) -> str:
    """ "form" or "json". Raises UnsupportedBody for anything else."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return "form"
    if media == "application/json" or media.endswith("+json"):
        return "json"
    raise UnsupportedBody(f"a body of type {media or 'none'!r}; allowed are multipart/form-data and application/json")


async def form_of(request: Request, most: int, seconds: float) -> FormData:
    """A form with one file; close it after use."""
    pieces = chunks(request, most + 2 * _FIELD, seconds, "--max-bytes")
    try:
        return await MultiPartParser(request.headers, pieces, max_files=1, max_fields=8, max_part_size=_FIELD).parse()
    except (MultiPartException, UnicodeDecodeError, KeyError) as e:
        raise RequestRefused(f"not a form: {getattr(e, 'message', e)}") from e


async def json_of(request: Request, model: type[Body], most: int, seconds: float) -> Body:
    """The model in a JSON body. Raises RequestRefused where it is no JSON, WrongValue where it does not fit."""
    raw = bytearray()
    async for piece in chunks(request, most, seconds, "--json-bytes"):
        raw += piece
    try:
        return await asyncio.to_thread(model.model_validate_json, bytes(raw))
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "json_invalid":
            raise RequestRefused(f"the body is no JSON: {first['msg'][:200]}") from None
        raise WrongValue(f"{where or 'body'}: {first['msg'][:300]}", param=where or None) from None
