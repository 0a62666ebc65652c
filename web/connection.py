"""A connection: its requests are answered in their order, each after the answers before it have left the server.

So a client that asks for much and reads nothing costs two reads of requests and one answer, and no thread.
"""

import asyncio
import select
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from web import logs
from web.lanes import InLoop, Lanes, Workers
from web.reader import LargeBodies, Reader, Request

MAX_REQUEST_TIME = 120  # seconds until a request has been sent whole
LINGER = 2  # seconds to read on after a request was refused halfway: closed at once, its client might lose the answer

Application = Callable[..., Iterable[bytes]]


class Shared(Protocol):
    """What all connections of a server share."""

    app: Application
    lanes: Lanes
    buffer: memoryview  # what is read is in here until the connection has parsed it
    constant: dict[str, Any]  # the part of the WSGI environment that is the same for all requests
    large_bodies: LargeBodies
    idle: float  # seconds of silence until a connection is closed
    now: float  # the loop's time, at most a second old
    date: str  # the header
    heard: int  # counts what was read
    stopping: bool
    connections: set["Connection"]

    def left(self, connection: "Connection") -> None:
        """Forget a closed connection."""


class Response(NamedTuple):
    """What the application answers. A body without a Content-Length comes in `parts`, which `close` ends."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    parts: Iterator[bytes] | None = None
    close: Callable[[], None] = lambda: None


class Connection(asyncio.BufferedProtocol):
    """What asyncio calls when something happens to a connection."""

    transport: asyncio.Transport

    def __init__(self, service: Shared, address: tuple[Any, ...]) -> None:
        """A connection from this address, before it is open."""
        client = {"REMOTE_ADDR": str(address[0]), "REMOTE_PORT": str(address[1])}
        self._service = service
        self._requests = deque[Request]()  # the first one is being answered
        self._reader = Reader(service.constant | client, self._requests.append, service.large_bodies)
        self._workers: InLoop | Workers
        self._stream: Response | None = None
        self._is_answering = self._blocked = self._paused = self._half_closed = self._lost = False
        self._active = self._began = service.now
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection is open."""
        self.transport = transport
        self._service.connections.add(self)
        transport.set_write_buffer_limits(0)  # so that asyncio says when an answer has left

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The connection is closed: its requests are not answered any more."""
        self._lost = True
        self._reader.forget()
        self._forget_requests()
        if self._stream and self._blocked:
            self._workers.add(self._stream.close, lambda _: None)
        self._service.left(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where asyncio puts what it reads."""
        return self._service.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what was read; a client that sends more while it waits for an answer is not read for now."""
        service, reader = self._service, self._reader
        service.heard += 1
        if reader.over:
            return
        self._active = service.now
        if not reader.halfway:
            self._began = service.now
        waiting = bool(self._requests)
        reader.feed(service.buffer[:nbytes])
        if waiting and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        elif self._requests:
            self._next()
        elif reader.expects:
            self._invite_body()

    def eof_received(self) -> bool:
        """The client sends nothing more; it still gets its answers."""
        self._half_closed = True
        return bool(self._requests)

    def pause_writing(self) -> None:
        """Something was written that has not left yet."""
        self._blocked = True

    def resume_writing(self) -> None:
        """All that was written has left."""
        self._blocked = False
        if self._stream:
            self._next_part()
        else:
            self._next()

    def check_time(self) -> None:
        """Close a connection that is idle, whose client does not read, or takes too long to send a request."""
        now, unsent = self._service.now, self.transport.get_write_buffer_size()
        if unsent != self._unsent or (self._is_answering and not unsent):  # the client reads, or waits for us
            self._unsent, self._active = unsent, now
        patience = LINGER if self._reader.unread and not unsent else self._service.idle
        too_long = self._reader.halfway and not self._requests and now - self._began > MAX_REQUEST_TIME
        if too_long or now - self._active > patience:
            self.transport.abort()

    @property
    def is_busy(self) -> bool:
        """Whether a request waits for its answer, or an answer has not left."""
        return bool(self._requests) or self.transport.get_write_buffer_size() > 0

    def _next(self) -> None:
        """Have the first request answered, unless it is being answered or the answer before it has not left."""
        if self._is_answering or self._blocked or not self._requests:
            return
        self._is_answering = True
        request = self._requests[0]
        if request.refused:
            self._send(_refusal(HTTPStatus(request.refused)))
        else:
            self._workers = self._service.lanes.of(request.line, len(request.body))
            self._workers.add(partial(self._answer, request), self._send)

    def _answer(self, request: Request) -> Response | None:
        """The application's answer, or None if the connection is closed; runs in a thread or in the loop."""
        if self._lost:
            return None
        try:
            return _answered(self._service.app, request.environ())
        except Exception:
            logs.log.exception("an answer could not be given")
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send(self, answer: Response | None) -> None:
        """Write an answer, or its head if it comes in parts."""
        if answer is None or self._lost:
            if answer and answer.parts:
                self._workers.add(answer.close, lambda _: None)
            return
        request = self._requests[0]
        if self._service.stopping and not self._has_more():
            request.stays = False
        self._active = self._service.now
        self.transport.write(self._head(request, answer) + answer.body)
        if answer.parts:
            self._stream = answer
            self._next_part()
        else:
            self._finish()

    def _head(self, request: Request, answer: Response) -> bytes:
        lines = [f"{request.version} {answer.status}", *[f"{name}: {value}" for name, value in answer.headers]]
        if not any(name == "Date" for name, _ in answer.headers):  # a file of static/ has one
            lines.append(f"Date: {self._service.date}")
        if answer.parts and request.version == "HTTP/1.1":
            lines.append("Transfer-Encoding: chunked")
        elif answer.parts:
            request.stays = False
        if not request.stays:
            lines.append("Connection: close")
        elif request.version == "HTTP/1.0":
            lines.append("Connection: Keep-Alive")
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")

    def _next_part(self) -> None:
        """Have the next part made, unless the one before it has not left."""
        if not self._blocked:
            self._workers.add(self._part, self._send_part)

    def _part(self) -> bytes | None:
        """The next part, b"" after the last one; None if there is an error, or the connection is closed."""
        stream = self._stream
        assert stream
        try:
            if not self._lost and (part := next((each for each in stream.parts or () if each), b"")):
                return part
            stream.close()
        except Exception:
            logs.log.exception("an answer could not be given to its end")
            return None
        return None if self._lost else b""

    def _send_part(self, part: bytes | None) -> None:
        if self._lost:
            if part and self._stream:
                self._workers.add(self._stream.close, lambda _: None)
        elif part is None:
            self.transport.abort()
        else:
            chunked = self._requests[0].version == "HTTP/1.1"
            self.transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            if part:
                self._next_part()
            else:
                self._stream = None
                self._finish()

    def _finish(self) -> None:
        """Go on after an answer; other connections get their turn before the next request of this one."""
        self._is_answering = False
        answered = self._requests.popleft()
        answered.forget()
        if not answered.stays:
            self._close()
        elif self._requests:
            self._next()
        elif self._half_closed:
            self.transport.close()
        else:
            self._read_on()

    def _read_on(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if self._reader.expects:
            self._invite_body()

    def _invite_body(self) -> None:
        self._reader.expects = False
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _close(self) -> None:
        """Close; but read on for a moment if the client may still be sending a request that was refused."""
        self._forget_requests()
        if self._reader.unread and not self._half_closed:
            self.transport.write_eof()
            self._read_on()
        else:
            self.transport.close()

    def _forget_requests(self) -> None:
        for each in self._requests:
            each.forget()
        self._requests.clear()

    def _has_more(self) -> bool:
        """Whether the client has sent more than the request that is being answered."""
        if len(self._requests) > 1 or self._reader.halfway:
            return True
        unread = select.poll()
        unread.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._half_closed and bool(unread.poll(0))


def _answered(app: Application, environ: dict[str, Any]) -> Response:
    """What the application answers; its whole body if it says how long that is."""
    heads: list[tuple[str, list[tuple[str, str]]]] = []
    parts = app(environ, lambda status, headers, _=None: heads.append((status, headers)))
    close = getattr(parts, "close", lambda: None)
    status, headers = heads[-1]
    if any(name == "Content-Length" for name, _ in headers) or status[:3] in ("204", "304"):
        try:
            return Response(status, headers, b"".join(parts))
        finally:
            close()
    return Response(status, headers, b"", iter(parts), close)


def _refusal(status: HTTPStatus) -> Response:
    """What the server answers by itself."""
    body = f"{status.phrase}\n".encode()
    headers = [("Content-Length", str(len(body))), ("Content-Type", "text/plain; charset=utf-8")]
    return Response(f"{status.value} {status.phrase}", headers, body)
