"""Who may come in, how often, and how many at a time."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mllm_avqa.serving.refusals import Busy, TooManyRequests, WrongKey

_REMEMBERED = 10_000  # owners whose rate is known; the longest unseen one is forgotten first


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


@dataclass
class Doors:
    """keys: that open it, none = open to all; per_minute: requests of one owner; places: requests at a time."""

    keys: Sequence[str]
    per_minute: float
    places: int
    clock: Callable[[], float] = time.monotonic
    taken: int = 0
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def owner(self, authorization: str | None, address: str) -> str:
        """To whom a request belongs: its key's hash or, where none is asked for, its address. Raises WrongKey."""
        if not self.keys:
            return f"address {address}"
        scheme, _, given = (authorization or "").partition(" ")
        found = False
        for key in self.keys:  # all of them, so that time tells nothing
            found |= hmac.compare_digest(_digest(given.strip()), _digest(key))
        if scheme.lower() != "bearer" or not found:
            raise WrongKey("this server wants one of its keys: Authorization: Bearer KEY")
        return f"key {_digest(given.strip()).hex()}"

    def count(self, owner: str) -> None:
        """One more request of this owner. Raises TooManyRequests."""
        now, most = self.clock(), max(1.0, self.per_minute)
        left, before = self._buckets.pop(owner, (most, now))
        left = min(most, left + (now - before) * self.per_minute / 60)
        self._buckets[owner] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = (1 - left) * 60 / self.per_minute
            raise TooManyRequests(f"at most {self.per_minute:g} requests a minute (--per-minute)", retry=wait)

    def enter(self, retry: float) -> Seat:
        """Take a place. Raises Busy where all are taken; retry: seconds until one is likely to be free."""
        if self.taken >= self.places:
            raise Busy(f"all {self.places} places are taken (--places)", retry=retry)
        self.taken += 1
        return Seat(self)


@dataclass
class Seat:
    """One of the places; left once, however often `leave` is called."""

    doors: Doors
    left: bool = False

    def leave(self) -> None:
        if not self.left:
            self.left = True
            self.doors.taken -= 1
