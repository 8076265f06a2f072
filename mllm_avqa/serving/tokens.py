"""Token ids in, log-probabilities out: the two routes of vLLM's server that `Rater.from_endpoint` asks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from mllm_avqa.model.prompting import Media, Segment
from mllm_avqa.model.served import GENERATE, RENDER, VIEWS, runs, views_of
from mllm_avqa.model.views import Views
from mllm_avqa.rater import Rater
from mllm_avqa.serving import bodies
from mllm_avqa.serving.chat import check_model
from mllm_avqa.serving.house import House
from mllm_avqa.serving.protocol import AudioPart, VideoPart
from mllm_avqa.serving.refusals import WrongValue

_PROMPT = 8192  # tokens
Fps = Annotated[float, Field(ge=1e-3, le=1e3)]


class ShownMessage(BaseModel):
    role: Literal["user"]
    content: list[Annotated[VideoPart | AudioPart, Field(discriminator="type")]] = Field(max_length=3)


class Frames(BaseModel):
    """Frames are taken as they come: what would change them is refused."""

    fps: Fps
    do_resize: Literal[False]
    do_sample_frames: Literal[False]


class RenderRequest(BaseModel):
    model: str
    messages: list[ShownMessage] = Field(min_length=1, max_length=1)
    mm_processor_kwargs: Frames


class SentView(BaseModel):
    url: str
    fps: Fps


class SentViews(BaseModel):
    kwargs_data: dict[Literal["video", "audio"], list[SentView]]


class Sampling(BaseModel):
    max_tokens: Literal[1]
    logprob_token_ids: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, max_length=128)


class GenerateRequest(BaseModel):
    model: str
    token_ids: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, max_length=_PROMPT)
    features: SentViews
    sampling_params: Sampling


def token_routes(house: House) -> APIRouter:
    router = APIRouter()

    async def read(request: Request, kind: type[Any]) -> Any:
        body = await bodies.json_of(request, kind, house.bounds.json_bytes, house.bounds.body_seconds)
        check_model(house, body.model)
        if house.desk.rater.backbone.stock_classes() is None:
            raise WrongValue("serving engines do not know the family of this model", param="model")
        return body

    @contextmanager
    def seated(request: Request) -> Iterator[None]:
        house.owner(request)
        place = house.enter()
        try:
            yield
        finally:
            place.leave()

    @router.post(RENDER)
    async def render(request: Request) -> Response:
        with seated(request):
            body: RenderRequest = await read(request, RenderRequest)
            data: dict[str, list[dict[str, Any]]] = {}
            for part in body.messages[0].content:
                kind, url = ("video", part.video_url) if isinstance(part, VideoPart) else ("audio", part.audio_url)
                data.setdefault(kind, []).append({"url": url.url, "fps": body.mm_processor_kwargs.fps})
            made = (await asyncio.to_thread(_shown, house.desk.rater, data))[1]
        return JSONResponse({"token_ids": [], "features": made})

    @router.post(GENERATE)
    async def generate(request: Request) -> Response:
        with seated(request):
            body: GenerateRequest = await read(request, GenerateRequest)
            data = {str(k): [v.model_dump() for v in views] for k, views in body.features.kwargs_data.items()}
            rater, wanted = house.desk.rater, body.sampling_params.logprob_token_ids
            media, made = await asyncio.to_thread(_shown, rater, data)
            places = made["mm_placeholders"]
            known = len(rater.backbone.tokenizer)
            fit = all(
                [p["length"] for p in places.get(kind, [])] == [n for _, n in runs(body.token_ids, pad)]
                for kind, pad in rater.backbone.pads.items()
            )
            if not fit or max(*body.token_ids, *wanted) >= known:
                raise WrongValue("token_ids do not fit the views or the tokens of this model", param="token_ids")
            work = house.desk.call(lambda: rater.corridor.prompted(body.token_ids, media, wanted))
            found = await asyncio.wrap_future(work)
            told = sorted(zip(wanted, found, strict=True), key=lambda t: -t[1])
        top = [{"token_id": i, "logprob": p} for i, p in told]
        entry = top[0] | {"top_logprobs": top}
        choice = {"index": 0, "logprobs": {"content": [entry]}, "finish_reason": "length", "token_ids": [told[0][0]]}
        return JSONResponse({"choices": [choice]})

    return router


def _views(rater: Rater, data: dict[str, list[dict[str, Any]]]) -> Views:
    videos, sounds, side = data.get("video", []), data.get("audio", []), rater.card.views.patch
    views = views_of([v["url"] for v in videos], [s["url"] for s in sounds], videos[0]["fps"] if videos else 1.0)
    frames = [f for f in (views.whole, views.fragments) if f is not None]
    if any(len(f) % 2 or f.shape[1] % side or f.shape[2] % side for f in frames):
        raise WrongValue(f"frames come in pairs, their sides are multiples of {side}", param="messages")
    return views


def _shown(rater: Rater, data: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of views and their features: what was sent, since nothing is kept between two requests."""
    backbone = rater.backbone
    media = backbone.media_tensors(_views(rater, data))
    places = {
        kind: runs(backbone.encode_segment(Segment(kind, tuple(Media(v) for v in VIEWS[kind])), media).ids, pad)
        for kind, pad in backbone.pads.items()
        if kind in data
    }
    return media, {
        "mm_hashes": {k: [hashlib.sha256(v["url"].encode()).hexdigest() for v in own] for k, own in data.items()},
        "mm_placeholders": {k: [{"offset": o, "length": n} for o, n in found] for k, found in places.items()},
        "kwargs_data": data,
    }
