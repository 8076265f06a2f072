"""Everything the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.serving.arrivals import Arrivals
from mllm_avqa.serving.bounds import ServerBounds
from mllm_avqa.serving.desk import Desk
from mllm_avqa.serving.doors import Doors, Seat
from mllm_avqa.serving.meters import Meters
from mllm_avqa.serving.orders import Orders
from mllm_avqa.serving.refusals import WrongValue


@dataclass
class House:
    desk: Desk
    doors: Doors
    arrivals: Arrivals
    orders: Orders
    meters: Meters
    bounds: ServerBounds
    language: str
    started: int = 0  # seconds since 1970

    def owner(self, request: Request) -> str:
        """Who asks; counts the request. Raises WrongKey, TooManyRequests."""
        address = request.client.host if request.client else "?"
        owner = self.doors.owner(request.headers.get("authorization"), address)
        self.doors.count(owner)
        return owner

    def enter(self) -> Seat:
        """A place for a request with a clip. Raises Busy while the model is loaded, and where all are taken."""
        _ = self.desk.rater
        return self.doors.enter(retry=self.desk.pace * (1 + self.desk.waiting))

    def spoken(self, language: str | None) -> str:
        """A language of the checkpoint. Raises WrongValue."""
        wanted = language or self.language
        if wanted not in self.desk.raters:
            known = ", ".join(n for n in LANGUAGES if n in self.desk.raters)
            raise WrongValue(f"lang: {wanted[:20]!r} is none of {known}", param="lang")
        return wanted
