"""`/v1/ratings`: a clip comes in, its `Rating` goes out; long ones are asked for later, or followed as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import UploadFile

from mllm_avqa.report.html import data_uri, render_html
from mllm_avqa.schema.plain import json_text
from mllm_avqa.serving import bodies
from mllm_avqa.serving.arrivals import Delivered
from mllm_avqa.serving.house import House
from mllm_avqa.serving.orders import Order
from mllm_avqa.serving.refusals import Withdrawn, WrongValue, as_json, headers_of, status_of

_BEAT = 15.0  # seconds after which an event stream says that it lives
_LOOK = 0.5  # seconds between looks whether a client is still there
_TEXT = 20_000  # characters of a text that comes with a clip
REPORT_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


class ClipRequest(BaseModel):
    """clip: a data URL, a path below the media root, or the address of a clip on an allowed host."""

    model_config = ConfigDict(extra="forbid")

    clip: str
    text: str | None = None  # caption or description that belongs to the clip


def ratings_routes(house: House) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/ratings")
    async def rate(
        request: Request,
        explain: Annotated[bool, Query(description="Name faults and write the explanation.")] = True,
        lang: Annotated[str | None, Query(description="en or zh.")] = None,
        windows: Annotated[bool, Query(description="Tell the windows' own scores too.")] = True,
        frames: Annotated[bool, Query(description="Keep small pictures of the frames the model saw.")] = False,
        hold: Annotated[
            bool, Query(description="Keep the clip encoded, so that chats find it as sha256:HASH.")
        ] = False,
        wait: Annotated[float | None, Query(ge=0, description="Seconds to wait before 202.")] = None,
    ) -> Response:
        owner = house.owner(request)
        place = house.enter()
        try:
            language = house.spoken(lang)
            delivered, text = await _clip_of(house, request)
        except BaseException:
            place.leave()
            raise
        pictures = frames or _wants(request, "text/html")
        order = Order(owner, delivered.name, language, explain, text, pictures, hold)
        house.orders.begin(order, delivered, place)
        most = house.bounds.wait_seconds
        await _ended(house, request, order, most if wait is None else min(wait, most))
        return _told(house, request, order, windows)

    @router.get("/v1/ratings/{name}")
    async def look(request: Request, name: str, windows: bool = True) -> Response:
        order = house.orders.get(name, house.owner(request))
        if _wants(request, "text/event-stream"):
            return StreamingResponse(_events(order, windows), media_type="text/event-stream")
        return _told(house, request, order, windows)

    @router.get("/v1/ratings/{name}/frames")
    async def frames_of(request: Request, name: str) -> Response:
        order = house.orders.get(name, house.owner(request))
        return JSONResponse([{"time": t.time, "image": data_uri(t.image)} for t in order.thumbnails])

    @router.delete("/v1/ratings/{name}", status_code=204)
    async def forget(request: Request, name: str) -> Response:
        await house.orders.delete(house.orders.get(name, house.owner(request)))
        return Response(status_code=204)

    return router


async def _clip_of(house: House, request: Request) -> tuple[Delivered, str | None]:
    """The clip and the text of a request."""
    bounds, arrivals = house.bounds, house.arrivals
    if bodies.kind_of(request) == "json":
        body = await bodies.json_of(request, ClipRequest, bounds.json_bytes, bounds.body_seconds)
        return await arrivals.named(body.clip), _bounded(body.text)
    form = await bodies.form_of(request, arrivals.most, bounds.body_seconds)
    try:
        clip, text = form.get("clip"), form.get("text")
        if clip is None or isinstance(text, UploadFile) or not set(form) <= {"clip", "text"}:
            raise WrongValue("a form has the file or address 'clip' and perhaps the text 'text'", param="clip")
        if isinstance(clip, UploadFile):
            return await arrivals.upload(clip.file, clip.filename), _bounded(text)
        return await arrivals.named(clip), _bounded(text)
    finally:
        await form.close()


def _bounded(text: str | None) -> str | None:
    if text is not None and len(text) > _TEXT:
        raise WrongValue(f"text: {len(text)} characters, allowed are {_TEXT}", param="text")
    return text or None


async def _ended(house: House, request: Request, order: Order, seconds: float) -> None:
    """Wait for an order for so long; where its client goes away, it is deleted."""
    assert order.task is not None
    end = asyncio.get_running_loop().time() + seconds
    while (left := end - asyncio.get_running_loop().time()) > 0 and not order.over:
        await asyncio.wait({order.task}, timeout=min(_LOOK, left))
        if not order.over and await request.is_disconnected():
            await house.orders.delete(order)
            raise Withdrawn("the client went away")


def _wants(request: Request, media: str) -> bool:
    return media in request.headers.get("accept", "")


def _told(house: House, request: Request, order: Order, windows: bool) -> Response:
    """The rating, the failure, or how far it is."""
    place = {"Location": f"/v1/ratings/{order.id}"}
    if order.error is not None:
        status = status_of(order.error)
        return JSONResponse(as_json(order.error, status), status, headers=headers_of(order.error))
    if order.rating is None:
        return JSONResponse(_state(order), 202, headers=place | {"Retry-After": "1"})
    if _wants(request, "text/html"):
        limits = house.desk.rater.card.limits
        page = render_html(order.rating, limits=limits, thumbnails=order.thumbnails)
        return HTMLResponse(page, headers=place | {"Content-Security-Policy": REPORT_CSP})
    return Response(_json(order, windows), media_type="application/json", headers=place)


def _state(order: Order) -> dict[str, object]:
    return {"id": order.id, "state": order.state, "progress": round(order.progress, 3), "clip": order.name}


def _json(order: Order, windows: bool) -> str:
    assert order.rating is not None
    return json_text(order.rating.model_dump(mode="json", exclude=None if windows else {"windows"}))


async def _events(order: Order, windows: bool) -> AsyncIterator[str]:
    """Server-sent events: "progress" as it comes, then "rating" or "error"; comments between keep proxies open."""
    news = order.news()
    asked = asyncio.ensure_future(anext(news))
    while True:
        done, _ = await asyncio.wait({asked}, timeout=_BEAT)
        if not done:
            yield ": still here\n\n"
            continue
        try:
            now = asked.result()
        except StopAsyncIteration:
            return
        if now.error is not None:
            yield f"event: error\ndata: {json.dumps(as_json(now.error, status_of(now.error)))}\n\n"
        elif now.rating is not None:
            yield f"event: rating\ndata: {_json(now, windows)}\n\n"
        else:
            yield f"event: progress\ndata: {json_text(_state(now))}\n\n"
        asked = asyncio.ensure_future(anext(news))
