"""Ratings under way and those done: each belongs to one owner, is kept for a while, and tells who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from secrets import token_urlsafe

from mllm_avqa.media.sources import called
from mllm_avqa.report.frames import thumbnails
from mllm_avqa.report.html import Thumbnail
from mllm_avqa.schema.errors import AvqaError, InternalError, typed
from mllm_avqa.schema.rating import Rating
from mllm_avqa.serving.arrivals import Delivered
from mllm_avqa.serving.desk import Desk, Wanted
from mllm_avqa.serving.doors import Seat
from mllm_avqa.serving.meters import Meters
from mllm_avqa.serving.refusals import NotHeld, Withdrawn


@dataclass
class Order:
    """One rating that somebody asked for."""

    owner: str
    name: str  # what the owner calls the clip
    language: str
    explain: bool
    text: str | None
    frames: bool  # whether pictures of the frames are wanted too
    hold: bool = False  # whether the clip is kept encoded for chats
    id: str = field(default_factory=lambda: token_urlsafe(16))
    state: str = "queued"  # queued, running, done, failed
    progress: float = 0.0  # of the file that has been read
    rating: Rating | None = None
    thumbnails: Sequence[Thumbnail] = ()
    error: AvqaError | None = None
    ended: float | None = None
    task: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, **changes: object) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def over(self) -> bool:
        return self.ended is not None

    async def news(self) -> AsyncIterator[Order]:
        """The order now, and after every change until it is over."""
        while True:
            changed = self.changed
            yield self
            if self.over:
                return
            await changed.wait()


@dataclass
class Orders:
    """seconds: for which ended ratings are kept; most: of them."""

    desk: Desk
    meters: Meters
    seconds: float
    most: int
    by_id: dict[str, Order] = field(default_factory=dict)

    def begin(self, order: Order, delivered: Delivered, place: Seat) -> None:
        """Rate in the background; the upload and the place are given back when it is over."""
        self._sweep()
        self.by_id[order.id] = order
        order.task = asyncio.create_task(self._carry(order, delivered, place))

    def get(self, name: str, owner: str) -> Order:
        self._sweep()
        order = self.by_id.get(name)
        if order is None or order.owner != owner:
            raise NotHeld("no rating of this id belongs to this key: unknown, deleted or expired")
        return order

    async def delete(self, order: Order) -> None:
        """Forget it; what is under way stops at the next window."""
        self.by_id.pop(order.id, None)
        if order.task is not None and not order.task.done():
            order.task.cancel()
            await asyncio.wait({order.task})
        if order.hold and order.rating is not None:
            key = self.desk.key(order.owner, order.rating.content_hash, order.language)
            self.desk.call(lambda: self.desk.forget(key))

    async def drain(self, seconds: float) -> None:
        """Wait for what is under way."""
        tasks = [o.task for o in self.by_id.values() if o.task is not None and not o.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _sweep(self) -> None:
        now = time.monotonic()
        ended = [o for o in self.by_id.values() if o.ended is not None]
        ended.sort(key=lambda o: o.ended or 0.0)
        for k, order in enumerate(ended):
            if k < len(ended) - self.most or now - (order.ended or 0.0) > self.seconds:
                del self.by_id[order.id]

    async def _carry(self, order: Order, delivered: Delivered, place: Seat) -> None:
        loop = asyncio.get_running_loop()

        def tell(done: float) -> None:  # called in the desk's thread
            loop.call_soon_threadsafe(lambda: None if order.over else order.tell(state="running", progress=done))

        wanted = Wanted(
            delivered.path, order.language, order.explain, order.text, tell, order.owner if order.hold else None
        )
        try:
            rating = await asyncio.wrap_future(self.desk.rate(wanted))
            if order.frames:
                reader, views = self.desk.rater.reader, self.desk.rater.card.views
                found = rating.model_copy(update={"path": str(delivered.path)})
                order.thumbnails = await asyncio.to_thread(thumbnails, found, reader, views)
            self.meters.rated(rating)
            order.tell(rating=called(rating, delivered.name), state="done", progress=1.0, ended=time.monotonic())
        except asyncio.CancelledError:
            wanted.dropped = True
            self._failed(order, Withdrawn("the rating was withdrawn"))
        except Exception as e:
            self._failed(order, nameless(typed(e), delivered))
        finally:
            delivered.discard()
            place.leave()

    def _failed(self, order: Order, error: AvqaError) -> None:
        self.meters.failed(error)
        order.tell(error=error, state="failed", ended=time.monotonic())


def nameless(error: AvqaError, delivered: Delivered) -> AvqaError:
    """The error with the owner's name of the clip in the place of this machine's path."""
    if not isinstance(error, InternalError) and str(delivered.path) in str(error):
        error.args = (str(error).replace(str(delivered.path), delivered.name),)
    return error
