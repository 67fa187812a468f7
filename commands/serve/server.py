"""uvicorn with time limits for clients that send a head or read an answer slowly, and a line when it is ready."""

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
    """HTTP whose request line and headers must come, and whose answers must be read, within a time.

    uvicorn would wait for ever (slow loris), and would not end by a signal as long as an answer is not read.

    Args:
        timeout: seconds.
        args, kwargs: uvicorn's own.
    """

    def __init__(self, *args: Any, timeout: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.timeout = timeout
        self.late: asyncio.TimerHandle | None = None
        self.unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that all that is not read pauses writing
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel()
        self._await_reader(None)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._await_reader(None)

    def _await_reader(self, left: int | None) -> None:
        """Abort the connection if the client reads nothing of the bytes that are left to write; null ends the wait."""
        if self.unread:
            self.unread.cancel()
        self.unread = None if left is None else self.loop.call_later(self.timeout, self._check_reader, left)

    def _check_reader(self, before: int) -> None:
        if (left := self.transport.get_write_buffer_size()) < before:
            self._await_reader(left)
        else:
            self.transport.abort()

    def _watch(self) -> None:
        """Begin to count when a head begins, and stop when it is there."""
        if self.conn.their_state is not h11.IDLE:
            self._cancel()
        elif self.late is None:
            self.late = self.loop.call_later(self.timeout, self._refuse)

    def _cancel(self) -> None:
        if self.late:
            self.late.cancel()
        self.late = None

    def _refuse(self) -> None:
        """Answer a head that is not complete in time, and close the connection."""
        self.late = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            said = b'{"error":"the head of the request was not complete within %g seconds"}' % self.timeout
            self.transport.write(LATE % (len(said), said))
            self.transport.close()


def build_server(app: FastAPI, timeout: float, line: str) -> Server:
    """A server of one process that finishes what is under way before a signal ends it.

    Args:
        app: the application.
        timeout: seconds in which the head of a request must be complete, and a client must read of its answer.
        line: printed when it is ready.
    """
    http: Any = partial(Protocol, timeout=timeout)
    config = uvicorn.Config(app, http=http, ws="none", lifespan="on", log_level="error", access_log=False)
    return Server(config, line)
