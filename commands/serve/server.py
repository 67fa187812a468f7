"""uvicorn with time limits for slow clients, a check of the name that they call it by, and a line when it is ready."""

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from uvicorn.protocols.http.h11_impl import H11Protocol

from callbacks.terminal import print_line

LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
LATE += b"Content-Length: %d\r\n\r\n%s"


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready.

    Args:
        config: uvicorn's.
        line: that it prints then.
        ending: called when a signal has come, before it waits for what is under way.
    """

    def __init__(self, config: uvicorn.Config, line: str, ending: Callable[[], None]):
        super().__init__(config)
        self.line, self.ending = line, ending

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print_line(f"{self.line}; end it by Ctrl-C")

    async def shutdown(self, sockets: Any = None) -> None:
        self.ending()
        await super().shutdown(sockets)


class OwnNames:
    """An application that answers only to its own names.

    A page of another site, whose name is made to lead to this machine, could read the answers (DNS rebinding).

    Args:
        app: the application.
        names: hosts, in lower case; of none any is taken.
    """

    def __init__(self, app: Any, names: Collection[str]):
        self.app, self.names = app, names

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        called = Headers(scope=scope).get("host", "") if self.names and scope["type"] != "lifespan" else None
        if called is None or _host(called) in self.names:
            await self.app(scope, receive, send)
            return
        said = f"the request is to {called[:80]!r}, but only {', '.join(sorted(self.names))} is answered: see --host"
        await JSONResponse({"error": said}, 403, {"Connection": "close"})(scope, receive, send)


def _host(called: str) -> str | None:
    """The host of a header such as `localhost:8000` or `[::1]`; null of what is none."""
    try:
        return urlsplit(f"//{called}").hostname
    except ValueError:
        return None


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


def build_server(
    app: FastAPI, timeout: float, line: str, names: Collection[str], ending: Callable[[], None] = lambda: None
) -> Server:
    """A server of one process that finishes what is under way before a signal ends it.

    Args:
        app: the application.
        timeout: seconds in which the head of a request must be complete, and a client must read of its answer.
        line: printed when it is ready.
        names: hosts that requests may be to; of none any.
        ending: called by a signal, to end answers that last as long as a page is open.
    """
    http: Any = partial(Protocol, timeout=timeout)
    served = OwnNames(app, names)
    config = uvicorn.Config(served, http=http, ws="none", lifespan="on", log_level="error", access_log=False)
    return Server(config, line, ending)
