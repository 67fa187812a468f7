"""uvicorn with a time limit for the head of a request, and a line when it is ready."""

import asyncio
from functools import partial
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
LATE += b"Content-Length: %d\r\n\r\n%s"


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready.

    Args:
        config: uvicorn's.
        line: that it prints then.
    """

    def __init__(self, config: uvicorn.Config, line: str):
        super().__init__(config)
        self.line = line

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(f"{self.line}; end it by Ctrl-C", flush=True)


class Protocol(H11Protocol):
    """HTTP whose request line and headers must come within a time: uvicorn would wait for ever (slow loris).

    Args:
        head_timeout: seconds.
        args, kwargs: uvicorn's own.
    """

    def __init__(self, *args: Any, head_timeout: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.head_timeout = head_timeout
        self.late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel()

    def _watch(self) -> None:
        """Begin to count when a head begins, and stop when it is there."""
        if self.conn.their_state is not h11.IDLE:
            self._cancel()
        elif self.late is None:
            self.late = self.loop.call_later(self.head_timeout, self._refuse)

    def _cancel(self) -> None:
        if self.late:
            self.late.cancel()
        self.late = None

    def _refuse(self) -> None:
        """Answer a head that is not complete in time, and close the connection."""
        self.late = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            said = b'{"error":"the head of the request was not complete within %g seconds"}' % self.head_timeout
            self.transport.write(LATE % (len(said), said))
            self.transport.close()


def build_server(app: FastAPI, timeout: float, line: str) -> Server:
    """A server of one process that finishes what is under way before a signal ends it.

    Args:
        app: the application.
        timeout: seconds in which the head of a request must be complete.
        line: printed when it is ready.
    """
    http: Any = partial(Protocol, head_timeout=timeout)
    config = uvicorn.Config(app, http=http, ws="none", lifespan="on", log_level="error", access_log=False)
    return Server(config, line)
