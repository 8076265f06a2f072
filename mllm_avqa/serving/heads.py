"""HTTP connections that must say what they want within some seconds; uvicorn itself waits for a head for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def impatient(seconds: float) -> type[H11Protocol]:
    """A protocol that hangs up on connections without a whole head of a request after so long."""

    class ImpatientProtocol(H11Protocol):
        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.late is not None:
                self.late.cancel()

        def _watch(self) -> None:
            waiting = self.cycle is None or self.cycle.response_complete
            if waiting and self.late is None:
                self.late = self.loop.call_later(seconds, self.transport.close)
            elif not waiting and self.late is not None:
                self.late.cancel()
                self.late = None

    return ImpatientProtocol
