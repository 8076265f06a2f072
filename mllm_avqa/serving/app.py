"""The server: routes, refusals in one form, safe headers, meters; it loads when it starts and drains when it stops."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mllm_avqa import __version__
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import AvqaError, ConfigError, InternalError, typed
from mllm_avqa.serving.arrivals import Arrivals
from mllm_avqa.serving.bounds import ServerBounds
from mllm_avqa.serving.chat import chat_routes
from mllm_avqa.serving.desk import Desk
from mllm_avqa.serving.doors import Doors
from mllm_avqa.serving.house import House
from mllm_avqa.serving.meters import Meters
from mllm_avqa.serving.orders import Orders
from mllm_avqa.serving.page import page_routes
from mllm_avqa.serving.ratings import ratings_routes
from mllm_avqa.serving.refusals import (
    NotAllowed,
    NotHeld,
    RequestRefused,
    Withdrawn,
    WrongValue,
    as_json,
    headers_of,
    status_of,
)
from mllm_avqa.serving.remote import Remote
from mllm_avqa.serving.tokens import token_routes

log = logging.getLogger(__name__)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_CSP = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


def make_app(
    load: Callable[[], Rater],
    *,
    language: str = "en",
    most_bytes: int,
    bounds: ServerBounds = ServerBounds(),
    keys: Sequence[str] = (),
    media_root: Path | None = None,
    hosts: Sequence[str] = (),
    names: Sequence[str] = (),
    failed: Callable[[Exception], None] = lambda error: None,
) -> FastAPI:
    """load: opens the rater, in the thread that works with it; failed: told, in that thread, when it could not.

    most_bytes: of a clip; keys: that open the server, none = open to all; media_root: folder whose files may be named;
    hosts: that clips are fetched from; names: that the server answers to, none = any. A page of another site whose name
    leads to this machine can ask under its own name only. Raises ConfigError for a media root that is no folder.
    """
    if media_root is not None and not media_root.is_dir():
        raise ConfigError(f"{media_root} is no folder (--media-root)")
    spool = tempfile.TemporaryDirectory(prefix="mllm-avqa-")
    doors = Doors(keys, bounds.per_minute, bounds.places)
    desk = Desk(load, bounds.batch_size, bounds.held)
    meters = Meters(lambda: desk.waiting, lambda: doors.taken)
    desk.seen = meters.runs.observe
    remote = Remote(hosts, most_bytes, bounds.remote_seconds) if hosts else None
    house = House(
        desk=desk,
        doors=doors,
        arrivals=Arrivals(Path(spool.name), media_root.resolve() if media_root else None, remote, most_bytes),
        orders=Orders(desk, meters, bounds.keep_seconds, bounds.kept),
        meters=meters,
        bounds=bounds,
        language=language,
        started=int(time.time()),
    )

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        with spool:
            desk.start(lambda: failed(desk.error) if desk.error is not None else None)
            yield
            await house.orders.drain(bounds.drain_seconds)
            desk.close(bounds.drain_seconds)

    app = FastAPI(
        title="mllm-avqa", version=__version__, lifespan=life, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.house = house
    app.include_router(ratings_routes(house))
    app.include_router(chat_routes(house))
    app.include_router(token_routes(house))
    app.include_router(page_routes(house))
    _health(app, house)
    _refusals(app, house)
    app.add_middleware(_Porch, meters=meters, names=frozenset(n.lower() for n in names), locked=bool(keys))
    return app


def _health(app: FastAPI, house: House) -> None:
    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        if not house.desk.alive:
            raise InternalError("nobody works at the desk")
        return {"status": "alive", "version": __version__}

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready", "model": house.desk.rater.card.name}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(house.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _refusals(app: FastAPI, house: House) -> None:
    """Whatever goes wrong leaves in one form, with the status of its class."""

    def refused(error: AvqaError) -> JSONResponse:
        house.meters.failed(error)
        status = status_of(error)
        return JSONResponse(as_json(error, status), status, headers=headers_of(error))

    @app.exception_handler(AvqaError)
    async def known(request: Request, error: AvqaError) -> Response:
        return refused(error)

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = str(first["loc"][-1])
        return refused(WrongValue(f"{where}: {first['msg']}", param=where))

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        refusal = NotHeld("nothing is here") if error.status_code == 404 else RequestRefused(str(error.detail))
        return JSONResponse(as_json(refusal, error.status_code), error.status_code, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        return refused(Withdrawn("the client went away"))

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return refused(typed(error))


class _Porch:
    """Every answer passes here: it gets safe headers, and is counted by route and status."""

    def __init__(self, app: ASGIApp, meters: Meters, names: frozenset[str], locked: bool) -> None:
        self.app, self.meters, self.names, self.locked = app, meters, names, locked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if refusal := self._foreign(scope):
            answer = JSONResponse(as_json(refusal, 403), 403)
            self.meters.failed(refusal)
            await answer(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in (*_HEADERS, _CSP) if h[0] not in given)]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            self.meters.requests.labels(path, str(status)).inc()
            self.meters.latency.labels(path).observe(time.perf_counter() - begin)

    def _foreign(self, scope: Scope) -> AvqaError | None:
        """Why a browser may not ask: the page it shows is another site's. A key could not be known to such a page."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if self.names and name not in self.names:
            return NotAllowed(f"this server is not called {name[:60]!r} (--server-name)")
        if not self.locked and scope["method"] != "GET" and headers.get("sec-fetch-site") == "cross-site":
            return NotAllowed("pages of other sites may not ask this server")
        return None
