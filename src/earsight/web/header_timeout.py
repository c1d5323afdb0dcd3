"""HTTP/1.1 with a limit on how long the head of a request may take.

uvicorn waits for ever for a request to begin; a few thousand connections that send a letter a
minute would then be all that the server has room for.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
_REFUSAL = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class TimedHeads(H11Protocol):
    """Ends a connection whose next request has not wholly begun in time."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Take what came: a part of a head, a whole one, or a part of a body."""
        if self._limit is None and not self._asked:
            self._begin()
        super().data_received(data)
        if self._asked:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop()
        super().connection_lost(exc)

    @property
    def _asked(self) -> bool:
        """Whether a request has begun whose answer is not over."""
        return self.cycle is not None and not self.cycle.response_complete

    def _begin(self) -> None:
        self._limit = self.loop.call_later(HEAD_SECONDS, self._end)

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _end(self) -> None:
        self._limit = None
        if not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()
